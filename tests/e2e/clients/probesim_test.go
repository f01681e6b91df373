package probesim

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
)

func status(t *testing.T, url string) int {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func expect[T comparable](t *testing.T, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("got %v, expected %v", got, wanted)
	}
}

// failing is a test that records its failures.
type failing struct {
	testing.TB
	messages []string
}

func (f *failing) Helper() {}
func (f *failing) Errorf(format string, values ...any) {
	f.messages = append(f.messages, format)
}

func TestAFaultLastsAsLongAsItsFunctionAndCountsWhatItDid(t *testing.T) {
	service := Start(t, nil)
	rule := Rule{Target: []string{"readiness"}, Mode: "status", Status: 503}
	var ended *Fault
	service.WithFault(t, rule, func(fault *Fault) {
		expect(t, status(t, service.URL+"/readyz"), 503)
		expect(t, status(t, service.URL+"/healthz"), 200)
		fault.AssertInjected(t, 1)
		ended = fault
	})
	expect(t, status(t, service.URL+"/readyz"), 200)
	eligible, injected := ended.Counts(t)
	expect(t, eligible, 1)
	expect(t, injected, 1)
}

func TestAFaultThatDidNothingFailsTheAssertion(t *testing.T) {
	service := Start(t, nil)
	fault := service.Fault(t, Rule{Target: []string{"liveness"}, Mode: "status"})
	var recorder failing
	recorder.TB = t
	fault.AssertInjected(&recorder, 1)
	expect(t, len(recorder.messages), 1)
}

func TestAFaultEndsWithItsTest(t *testing.T) {
	service := Start(t, nil)
	t.Run("with a fault", func(t *testing.T) {
		service.Fault(t, Rule{Target: []string{"liveness"}, Mode: "status", Name: "inner"})
		expect(t, status(t, service.URL+"/healthz"), 500)
	})
	state, err := service.State()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, len(state.Rules), 0)
}

func TestAWrongFaultSaysWhichFieldsAreWrong(t *testing.T) {
	service := Start(t, nil)
	err := service.Request(http.MethodPut, "/v1/faults/wrong", Rule{Target: []string{"readiness"}, Mode: "stats"}, nil)
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("no refusal: %v", err)
	}
	expect(t, refused.Status, 422)
	if len(refused.Reasons) != 1 || !strings.Contains(err.Error(), `did you mean "status"?`) {
		t.Errorf("reasons: %v", err)
	}
}

func TestAStopEndsFaultsUntilTheyResume(t *testing.T) {
	service := Start(t, map[string]string{"ADMIN_TOKEN": "a-token-for-a-test"})
	service.Fault(t, Rule{Target: []string{"liveness"}, Mode: "status", When: &When{Requests: &WhenRequests{After: 1}}})
	expect(t, status(t, service.URL+"/healthz"), 200)
	if err := service.Stop(); err != nil {
		t.Fatal(err)
	}
	expect(t, status(t, service.URL+"/healthz"), 200)
	if err := service.Resume(); err != nil {
		t.Fatal(err)
	}
	expect(t, status(t, service.URL+"/healthz"), 500)
}

func TestAnImageIsRun(t *testing.T) {
	image := os.Getenv("PROBESIM_IMAGE")
	if image == "" {
		t.Skip("no image")
	}
	service := StartContainer(t, image, nil)
	service.WithFault(t, Rule{Target: []string{"readiness"}, Mode: "status", Status: 503}, func(fault *Fault) {
		expect(t, status(t, service.URL+"/readyz"), 503)
		fault.AssertInjected(t, 1)
	})
}
