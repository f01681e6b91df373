// Requests on Go's net/http, one after the other, by one client that verifies certificates and keeps connections.
//
// It takes the file of an authority, a number of requests and a URL. It prints the protocols and statuses of the answers,
// how many connections it made, and the error that ended it, as JSON. With "1.1" or "1.2" as fourth argument, it offers
// HTTP/1.1 alone or TLS 1.2 at most.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"time"
)

type result struct {
	Answers     []string `json:"answers"`
	Connections int      `json:"connections"`
	Error       string   `json:"error"`
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: go-client CA COUNT URL [1.1|1.2]")
		os.Exit(64)
	}
	count, err := strconv.Atoi(os.Args[2])
	pem, readErr := os.ReadFile(os.Args[1])
	if err != nil || readErr != nil {
		fmt.Fprintln(os.Stderr, err, readErr)
		os.Exit(64)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	if len(os.Args) > 4 && os.Args[4] == "1.1" {
		transport.ForceAttemptHTTP2 = false
	}
	if len(os.Args) > 4 && os.Args[4] == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	seen := result{Answers: []string{}}
	for range count {
		if err := get(client, os.Args[3], &seen); err != nil {
			seen.Error = err.Error()
			break
		}
	}
	encoded, err := json.Marshal(seen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(encoded))
}

func get(client *http.Client, url string, seen *result) error {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			seen.Connections++
		}
	}}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	seen.Answers = append(seen.Answers, fmt.Sprintf("%s %d %s", response.Proto, response.StatusCode, body))
	return nil
}
