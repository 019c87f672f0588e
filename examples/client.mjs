// A client of the server in JavaScript, for Node 18 or later; in a page of your own the same calls need no package either.
//
//     export FRAUDLAB_API_KEY=...
//     node client.mjs score records.json
//     node client.mjs label <request_id> <position> true
//
// records.json holds a record or a list of them. The second command tells whether the transaction at that place
// of an earlier answer was fraud, once that is known.

import { readFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const url = env.FRAUDLAB_URL ?? "http://127.0.0.1:8000";
const tries = 4;
const busy = [429, 503]; // too many requests wait, or a worker failed: Retry-After says when to ask again

/** The answer to a POST; a server that is busy is asked again. */
async function ask(path, content) {
  const headers = { "Content-Type": "application/json", "X-API-Key": env.FRAUDLAB_API_KEY };
  for (let left = tries - 1; ; left--) {
    const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(content) });
    if (answer.ok) return answer.json();
    const said = await answer.text();
    if (!busy.includes(answer.status) || left === 0) throw new Error(`${answer.status}: ${said}`);
    await sleep(1000 * Number(answer.headers.get("Retry-After") ?? 1));
  }
}

/** Scores, risk levels and the three columns that each score rests on most. */
const score = (records) => ask("/predict?explain=3", records);

/** Tell the server whether a transaction that it has scored was fraud. */
const label = (request_id, position, fraud) => ask("/labels", { request_id, position, fraud, source: "desk" });

const [action, first, position, fraud] = argv.slice(2);
try {
  if (action === "score") console.log(JSON.stringify(await score(JSON.parse(await readFile(first, "utf8")))));
  else if (action === "label") console.log(JSON.stringify(await label(first, Number(position), fraud === "true")));
  else throw new Error("say score <file> or label <request_id> <position> true|false");
} catch (error) {
  console.error(error.message);
  exit(1);
}
