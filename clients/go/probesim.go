// Package probesim sets faults of kube-probesim for the length of a test. It is one file and needs the standard
// library only.
//
//	func TestTheClientTriesAgain(t *testing.T) {
//		service := probesim.Start(t, nil)
//		service.WithFault(t, probesim.Rule{Target: []string{"traffic"}, Mode: "status", Status: 503, Rate: "50%"},
//			func(fault *probesim.Fault) {
//				callManyTimes(t, service.URL)
//				fault.AssertInjected(t, 1)
//			})
//	}
//
// Start runs the program, and StartContainer runs an image. New is for a service that runs elsewhere, such as behind
// kubectl port-forward.
package probesim

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// TTL limits a fault if the test that set it is killed.
const TTL = "15m"

// <rule>
// Rule is a rule as the API takes it. Fields that do not fit together, such as a burst that is too short for the rate,
// are answered with 422.
type Rule struct {
	Name string `json:"name,omitempty"`
	// If true, the rule is off and hides rules of its name from weaker sources; it needs no other fields.
	Disabled bool `json:"disabled,omitempty"`
	// What the rule acts on; listener and process cannot be combined with others.
	Target []string `json:"target,omitempty"`
	// Which requests of the target; all given fields must match.
	Match *Match `json:"match,omitempty"`
	// Whose requests; default any.
	Client string `json:"client,omitempty"`
	// Networks that the rule acts on, or with ! spares; only for connections.
	From []string `json:"from,omitempty"`
	// A share of the replicas, or ordinals of a StatefulSet. Needs a seed and POD_NAME.
	Pods any `json:"pods,omitempty"`
	// All given conditions must hold.
	When *When `json:"when,omitempty"`
	// Windows in time count from this instant.
	Start string `json:"start,omitempty"`
	// The rule ends for good at this instant, which is after `start`.
	Until string `json:"until,omitempty"`
	// Each replica starts up to this much later.
	Stagger string `json:"stagger,omitempty"`
	// Share of the requests in the window, in percent. Values between 0 and 1 need the % sign.
	Rate string `json:"rate,omitempty"`
	// Mean number of consecutive injections, at least 1/(1 - rate).
	Burst float64 `json:"burst,omitempty"`
	// Time over which the rate rises from 0, or over which memory grows.
	Ramp string `json:"ramp,omitempty"`
	// Waits before the answer or the fault.
	Delay any `json:"delay,omitempty"`
	// What replaces the answer. Target listener has drop, refuse, reset, tls-hang, tls-close, tls-alert, tls-expired,
	// tls-wrong-name, tls-untrusted; target process has exit, abort, memory, cpu, ignore-term, slow-term, fds, disk.
	Mode string `json:"mode,omitempty"`
	// Status code; default 500.
	Status int `json:"status,omitempty"`
	// Target of mode redirect.
	Location string `json:"location,omitempty"`
	// Bytes of the body before a body fault; at most 64MiB.
	Body string `json:"body,omitempty"`
	// Duration of the body in mode drip; more than 0.
	Drip string `json:"drip,omitempty"`
	// Bytes of the body per second in mode throttle; default 1KiB, at most 1GiB.
	Speed string `json:"speed,omitempty"`
	// Share of the body's bytes that mode corrupt changes, in percent; more than 0, default 1%.
	Share string `json:"share,omitempty"`
	// Status of mode grpc; default UNAVAILABLE.
	GRPCStatus string `json:"grpc_status,omitempty"`
	// Message of mode grpc; default: a line that names the rule.
	GRPCMessage string `json:"grpc_message,omitempty"`
	// Alert of mode tls-alert, by its name in RFC 8446 or its number; default handshake_failure.
	Alert string `json:"alert,omitempty"`
	// Header fields of a faulted answer; they replace fields of the same name. Fields that frame the body or concern the
	// connection are refused.
	Headers map[string]any `json:"headers,omitempty"`
	// Body of a faulted answer.
	BodyText string `json:"body_text,omitempty"`
	// For modes that replace the answer: the request still reaches the application, and its answer is lost.
	Forward bool `json:"forward,omitempty"`
	// The whole connection ends, and every stream of HTTP/2 on it; without it, one stream ends.
	Connection bool `json:"connection,omitempty"`
	// For TCP proxies: the direction that the rule acts on; default downstream.
	Stream string `json:"stream,omitempty"`
	// For TCP proxies: how long modes hang, close and reset wait, or how late mode slow-close is.
	After string `json:"after,omitempty"`
	// For TCP proxies: mode hang closes the connection after this time, and when the rule ends.
	CloseAfter string `json:"close_after,omitempty"`
	// Bytes of a piece in mode slice; default 64.
	Piece string `json:"piece,omitempty"`
	// By how many bytes a piece may be longer or shorter; below `piece`.
	PieceJitter string `json:"piece_jitter,omitempty"`
	// Time between two pieces in mode slice; default 1ms.
	Pause string `json:"pause,omitempty"`
	// Exit code of mode exit; default 1.
	Code *int `json:"code,omitempty"`
	// For target process: memory in bytes or in percent of the container's limit, or size of a file in bytes.
	Size string `json:"size,omitempty"`
	// CPU time that mode cpu burns.
	Cores string `json:"cores,omitempty"`
	// Mount point of the volume that mode disk fills.
	Path string `json:"path,omitempty"`
	// If true, modes memory and cpu work without a limit of the container, and may affect others on the node.
	AllowNodePressure bool `json:"allow_node_pressure,omitempty"`
	// The rule is removed after this time; if absent, it stays.
	TTL string `json:"ttl,omitempty"`
}

// Match is the field match of a rule. Which requests of the target; all given fields must match.
type Match struct {
	// Compared as sent, without the query; /x/* is everything below /x/.
	Path string `json:"path,omitempty"`
	// One of these methods.
	Method []string `json:"method,omitempty"`
	// Without a port, every port matches.
	Host string `json:"host,omitempty"`
	// Exact value for each name; * is any value. A repeated header matches if one of its values does.
	Headers map[string]any `json:"headers,omitempty"`
	// Exact value for each parameter, after decoding; * is any value.
	Query map[string]any `json:"query,omitempty"`
}

// When is the field when of a rule. All given conditions must hold.
type When struct {
	// Counted from when the rule was added, or from `start`.
	After string `json:"after,omitempty"`
	// Length of the window.
	For string `json:"for,omitempty"`
	// The window repeats with this period, above `for`.
	Every string `json:"every,omitempty"`
	// In requests of a target and client class.
	Requests *WhenRequests `json:"requests,omitempty"`
	// In starts of the container.
	Starts *WhenStarts `json:"starts,omitempty"`
}

// WhenRequests is the field when.requests of a rule. In requests of a target and client class.
type WhenRequests struct {
	// Number before the first window.
	After int `json:"after,omitempty"`
	// Number in each window.
	For int `json:"for,omitempty"`
	// The period, above `for`.
	Every int `json:"every,omitempty"`
}

// WhenStarts is the field when.starts of a rule. In starts of the container.
type WhenStarts struct {
	// Number before the first window.
	After int `json:"after,omitempty"`
	// Number in each window.
	For int `json:"for,omitempty"`
	// The period, above `for`.
	Every int `json:"every,omitempty"`
}

// </rule>

// Error is a refusal of the service. Reasons has one error for each wrong field.
type Error struct {
	Status  int
	Detail  string
	Reasons []string
}

func (e *Error) Error() string {
	return strings.Join(append([]string{fmt.Sprintf("%d: %s", e.Status, e.Detail)}, e.Reasons...), "\n  ")
}

// Service is a running service.
type Service struct {
	// Admin is the URL of its admin listener.
	Admin string
	// URL is the URL of its probe listener.
	URL string

	token  string
	client *http.Client
}

// New is a client of a service that is running already. The token may be empty.
func New(admin, probe, token string) *Service {
	return &Service{
		Admin: strings.TrimRight(admin, "/"),
		URL:   strings.TrimRight(probe, "/"),
		token: token,
		// A proxy from the environment would not reach this machine's loopback.
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}},
	}
}

// Start runs the program on free ports of loopback until the test ends. The binary is PROBESIM_BINARY, or kube-probesim
// in PATH. env has variables of the service, such as {"UPSTREAM": "http://127.0.0.1:3000"}.
func Start(t testing.TB, env map[string]string) *Service {
	t.Helper()
	binary := os.Getenv("PROBESIM_BINARY")
	if binary == "" {
		binary = "kube-probesim"
	}
	variables := map[string]string{
		"PATH": os.Getenv("PATH"), "BIND_ADDRESS": "127.0.0.1", "PORT": "0", "ADMIN_ADDRESS": "127.0.0.1:0",
	}
	for name, value := range env {
		variables[name] = value
	}
	variables["LOG_FORMAT"] = "json"
	command := exec.Command(binary, "serve")
	for name, value := range variables {
		command.Env = append(command.Env, name+"="+value)
	}
	log := &log{started: make(chan addresses, 1)}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatalf("%s cannot be run: %v", binary, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = command.Process.Kill()
			<-ended
		}
	})
	select {
	case at := <-log.started:
		return New("http://"+at.Admin, "http://"+at.Probe, variables["ADMIN_TOKEN"])
	case <-ended:
		t.Fatalf("the service ended at its start:\n%s", log)
	case <-time.After(10 * time.Second):
		t.Fatalf("the service did not start within 10 s:\n%s", log)
	}
	return nil
}

// StartContainer runs an image by docker, or the command in PROBESIM_RUNTIME, until the test ends.
func StartContainer(t testing.TB, image string, env map[string]string) *Service {
	t.Helper()
	runtime := strings.Fields(os.Getenv("PROBESIM_RUNTIME"))
	if len(runtime) == 0 {
		runtime = []string{"docker"}
	}
	token := unique(16)
	arguments := append(runtime[1:len(runtime):len(runtime)], "run", "--detach", "--rm",
		"--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081")
	arguments = append(arguments, strings.Fields(os.Getenv("PROBESIM_RUN_OPTIONS"))...)
	for name, value := range env {
		arguments = append(arguments, "--env", name+"="+value)
	}
	arguments = append(arguments, "--env", "PORT=8080", "--env", "ADMIN_ADDRESS=:8081", "--env", "ADMIN_TOKEN="+token, image)
	run := func(arguments ...string) string {
		command := exec.Command(runtime[0], arguments...)
		var problem bytes.Buffer
		command.Stderr = &problem
		output, err := command.Output()
		if err != nil {
			t.Fatalf("%s %s: %v: %s", runtime[0], arguments[0], err, strings.TrimSpace(problem.String()))
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		return first
	}
	identity := run(arguments...)
	t.Cleanup(func() { run("rm", "--force", identity) })
	service := New("http://"+run("port", identity, "8081/tcp"), "http://"+run("port", identity, "8080/tcp"), token)
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := service.State()
		if err == nil {
			return service
		}
		if time.Now().After(deadline) {
			t.Fatalf("no service after 30 s: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// State is a part of the answer of GET /v1/state.
type State struct {
	Generation uint64 `json:"generation"`
	Rules      []struct {
		Name    string `json:"name"`
		Source  string `json:"source"`
		Active  bool   `json:"active"`
		Tallies []struct {
			Target   string `json:"target"`
			Eligible uint64 `json:"eligible"`
			Injected uint64 `json:"injected"`
		} `json:"tallies"`
	} `json:"rules"`
}

// State asks for the rules and their counts.
func (s *Service) State() (State, error) {
	var state State
	return state, s.Request(http.MethodGet, "/v1/state", nil, &state)
}

// Stop puts every rule of every source out of force, until Resume.
func (s *Service) Stop() error { return s.Request(http.MethodPost, "/v1/stop", nil, nil) }

// Resume ends a stop.
func (s *Service) Resume() error { return s.Request(http.MethodPost, "/v1/resume", nil, nil) }

// Request calls the admin API. body and answer are JSON, and may be nil. A refusal is an *Error.
func (s *Service) Request(method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, s.Admin+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" {
		request.Header.Set("X-Probesim-Token", s.token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", s.Admin, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("no whole answer from %s: %w", s.Admin, err)
	}
	if response.StatusCode >= 300 {
		return refusal(response.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

func refusal(status int, text []byte) error {
	var problem struct {
		Title, Detail string
		Errors        []struct{ Message string }
	}
	refused := &Error{Status: status, Detail: strings.TrimSpace(string(text))}
	if json.Unmarshal(text, &problem) == nil && problem.Title != "" {
		refused.Detail = problem.Detail
		for _, each := range problem.Errors {
			refused.Reasons = append(refused.Reasons, each.Message)
		}
	}
	return refused
}

// Fault is a rule that is in force. After its end, it still has its counts.
type Fault struct {
	Name string

	service            *Service
	ended              bool
	eligible, injected uint64
}

// Fault puts a rule in force until the test ends, or End is called. Without a TTL, the rule ends after 15 minutes even if
// this process is killed.
func (s *Service) Fault(t testing.TB, rule Rule) *Fault {
	t.Helper()
	if rule.Name == "" {
		rule.Name = "test-" + unique(4)
	}
	if rule.TTL == "" {
		rule.TTL = TTL
	}
	state, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range state.Rules {
		// Never replace another rule of that name.
		if known.Name == rule.Name {
			t.Fatalf("a fault named %s is in force already", rule.Name)
		}
	}
	if err := s.Request(http.MethodPut, "/v1/faults/"+url.PathEscape(rule.Name), rule, nil); err != nil {
		t.Fatal(err)
	}
	fault := &Fault{Name: rule.Name, service: s}
	t.Cleanup(func() { fault.End(t) })
	return fault
}

// WithFault puts a rule in force while a function runs.
func (s *Service) WithFault(t testing.TB, rule Rule, during func(*Fault)) {
	t.Helper()
	fault := s.Fault(t, rule)
	defer fault.End(t)
	during(fault)
}

// Counts says how many requests (or connections) the rule could have acted on, and on how many it did.
func (f *Fault) Counts(t testing.TB) (eligible, injected uint64) {
	t.Helper()
	if f.ended {
		return f.eligible, f.injected
	}
	state, err := f.service.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range state.Rules {
		if rule.Name == f.Name {
			f.eligible, f.injected = 0, 0
			for _, tally := range rule.Tallies {
				f.eligible += tally.Eligible
				f.injected += tally.Injected
			}
		}
	}
	return f.eligible, f.injected
}

// AssertInjected fails the test unless the rule acted at least that often.
func (f *Fault) AssertInjected(t testing.TB, atLeast uint64) {
	t.Helper()
	if eligible, injected := f.Counts(t); injected < atLeast {
		t.Errorf("fault %s acted on %d of %d requests, expected at least %d", f.Name, injected, eligible, atLeast)
	}
}

// End removes the rule.
func (f *Fault) End(t testing.TB) {
	t.Helper()
	if f.ended {
		return
	}
	f.Counts(t)
	f.ended = true
	err := f.service.Request(http.MethodDelete, "/v1/faults/"+url.PathEscape(f.Name), nil, nil)
	var refused *Error
	// Its ttl has passed, or another client has removed it.
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return
	}
	if err != nil {
		t.Error(err)
	}
}

func unique(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random)
	return hex.EncodeToString(random)
}

type addresses struct{ Message, Probe, Admin string }

// log is the output of the service, up to a limit, and the line with its addresses.
type log struct {
	lock    sync.Mutex
	text    []byte
	started chan addresses
	found   bool
}

func (l *log) Write(part []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.found {
		return len(part), nil
	}
	l.text = append(l.text, part...)
	lines := bytes.Split(l.text, []byte("\n"))
	// The last line may be incomplete.
	for _, line := range lines[:len(lines)-1] {
		var at addresses
		if json.Unmarshal(line, &at) == nil && at.Message == "started" {
			l.found = true
			l.started <- at
		}
	}
	return len(part), nil
}

func (l *log) String() string {
	l.lock.Lock()
	defer l.lock.Unlock()
	return string(l.text)
}
