// A server on Go's net/http that answers with the client's address, and starts without a listener of another family.
//
// It takes the address to listen on, such as :8080.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
