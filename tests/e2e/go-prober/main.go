// One HTTP attempt of a probe on Go's net/http, as the kubelet makes it (pkg/probe/http), for comparison with ours.
//
// It takes a timeout and a URL, and prints the result and the text of the event as JSON.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
)

const (
	maxBody      = 10 << 10
	maxRedirects = 10
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go-prober TIMEOUT URL")
		os.Exit(64)
	}
	timeout, err := time.ParseDuration(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	result, message := probe(os.Args[2], timeout)
	encoded, err := json.Marshal(map[string]string{"result": result, "message": message})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(encoded))
}

func probe(target string, timeout time.Duration) (string, string) {
	request, err := http.NewRequest("GET", target, nil)
	if err != nil {
		return "error", err.Error()
	}
	request.Header = http.Header{"User-Agent": {"kube-probe/1.36"}, "Accept": {"*/*"}}
	request.Host = ""
	client := &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			// The values of apimachinery's SetTransportDefaults.
			TLSHandshakeTimeout: 10 * time.Second,
			DisableCompression:  true,
			Proxy:               func(*http.Request) (*url.URL, error) { return nil, nil },
			DialContext:         dialer().DialContext,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= maxRedirects {
				return errors.New("stopped after 10 redirects")
			}
			return nil
		},
	}
	response, err := client.Do(request)
	if err != nil {
		return "failure", err.Error()
	}
	defer response.Body.Close()
	body, err := readAtMost(response.Body, maxBody)
	if err != nil && !errors.Is(err, errLimitReached) {
		return "error", err.Error()
	}
	status := response.StatusCode
	switch {
	case status >= 300 && status < 400:
		return "warning", fmt.Sprintf("Probe terminated redirects, Response body: %v", string(body))
	case status >= 200 && status < 300:
		return "success", ""
	default:
		return "failure", fmt.Sprintf("HTTP probe failed with statuscode: %d", status)
	}
}

var errLimitReached = errors.New("the read limit is reached")

// readAtMost is k8s.io/utils/io.ReadAtMost.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	limited := &io.LimitedReader{R: r, N: limit}
	data, err := io.ReadAll(limited)
	if err != nil {
		return data, err
	}
	if limited.N <= 0 {
		return data, errLimitReached
	}
	return data, nil
}

func dialer() *net.Dialer {
	return &net.Dialer{
		Control: func(_, _ string, conn syscall.RawConn) error {
			return conn.Control(func(fd uintptr) {
				_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
			})
		},
	}
}
