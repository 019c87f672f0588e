// go run client.go <address> <file of a record>: Go's own client, with kept connections, a body of unknown length and Expect.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func ask(address string, body io.Reader, expect bool) {
	request, err := http.NewRequest("POST", address+"/predict", body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if expect {
		request.Header.Set("Expect", "100-continue")
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	fmt.Println(answer.StatusCode, answer.Proto)
}

func main() {
	record, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	ask(os.Args[1], bytes.NewReader(record), false)
	ask(os.Args[1], bytes.NewReader(record), true)
	ask(os.Args[1], io.MultiReader(bytes.NewReader(record)), false) // its length is not known: chunked
	var all sync.WaitGroup
	for i := 0; i < 100; i++ {
		all.Add(1)
		go func() { defer all.Done(); ask(os.Args[1], bytes.NewReader(record), false) }()
	}
	all.Wait()
}
