#!/bin/sh
# A client of the server by curl, 7.76 or later.
#
#     export FRAUDLAB_API_KEY=...
#     sh client.sh score records.json
#     sh client.sh label <request_id> <position> true
#
# records.json holds a record or a list of them. The second command tells whether the transaction at that place
# of an earlier answer was fraud, once that is known.
set -eu
url="${FRAUDLAB_URL:-http://127.0.0.1:8000}"

# The key comes by standard input: other users of the machine can read a command line. --retry asks a busy server again
# (429 and 503) when its Retry-After says.
ask() {
    printf 'header = "X-API-Key: %s"\n' "$FRAUDLAB_API_KEY" |
        curl --config - --silent --show-error --fail-with-body --retry 3 --header 'Content-Type: application/json' "$@"
}

case "${1:-}" in
score) ask --data-binary "@$2" "$url/predict?explain=3" ;;
label)
    ask --data "{\"request_id\": \"$2\", \"position\": $3, \"fraud\": $4, \"source\": \"desk\"}" "$url/labels"
    ;;
*)
    echo "say score <file> or label <request_id> <position> true|false" >&2
    exit 1
    ;;
esac
