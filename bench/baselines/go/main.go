// A net/http handler that does what the original kube-probesim does for each request: it reads and parses the
// environment again, draws, waits, and looks at its clock and counters.
//
//	handler PORT
package main

import (
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

var (
	started  = time.Now()
	liveness atomic.Int64
)

// number is 0 for what does not parse, as there.
func number(name string) int {
	value, _ := strconv.Atoi(os.Getenv(name))
	return value
}

func fail(w http.ResponseWriter, why string) {
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintln(w, why)
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	if rate := number("FAILURE_RATE"); rate > 0 && rand.Intn(100) < rate {
		fail(w, "random failure")
		return
	}
	if latency := number("LATENCY"); latency > 0 {
		time.Sleep(time.Duration(latency) * time.Millisecond)
	}
	if after := number("LIVENESS_FAIL_AFTER_TIME"); after > 0 && time.Since(started) > time.Duration(after)*time.Second {
		fail(w, "failing by now")
		return
	}
	count, recovery := int64(number("FAIL_COUNT")), int64(number("RECOVERY_PERIOD"))
	if n := liveness.Add(1) - 1; recovery > 0 && n%(count+recovery) >= count {
		fail(w, "failing for some requests")
		return
	}
	w.WriteHeader(http.StatusOK)
	fmt.Fprintln(w, "ok")
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "handler PORT")
		os.Exit(64)
	}
	http.HandleFunc("/healthz", healthz)
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
	os.Exit(71)
}
