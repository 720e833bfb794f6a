package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/klog/v2"
)

// gitServer serves the repositories below a directory over smart HTTP, by
// way of git's own http-backend, and can be made to fail.
type gitServer struct {
	root, user, password string
	backend              string // git-http-backend's path
	address              string

	mu       sync.Mutex
	server   *http.Server  // nil while down
	stalled  chan struct{} // not nil while stalled; closed when that ends
	requests map[string]int
}

func newGitServer(ctx context.Context, root, user, password string) (*gitServer, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", root)
	}
	out, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &gitServer{root: root, user: user, password: password, address: address,
		backend: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), requests: map[string]int{}}
	if !exists(s.backend) {
		return nil, fmt.Errorf("%s is missing", s.backend)
	}
	return s, s.up()
}

func (s *gitServer) url() string { return "http://" + s.address }

// up serves, as before if the server was down or stalled.
func (s *gitServer) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
	if s.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.server = &http.Server{Handler: s, ErrorLog: log.New(klogWriter{}, "git: ", 0)}
	go s.server.Serve(listener)
	return nil
}

// down refuses connections, and breaks those there are.
func (s *gitServer) down() error {
	s.mu.Lock()
	server := s.server
	s.server = nil
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	return server.Close()
}

// stall takes requests from now on and answers none of them.
func (s *gitServer) stall() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return errors.New("git is down")
	}
	if s.stalled == nil {
		s.stalled = make(chan struct{})
	}
	return nil
}

func (s *gitServer) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.server == nil:
		return "down"
	case s.stalled != nil:
		return "stalled"
	}
	return "up"
}

func (s *gitServer) count(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[kind]++
}

// log is how many requests of each kind there were since the start.
func (s *gitServer) log() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

func (s *gitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	stalled := s.stalled
	s.mu.Unlock()
	if stalled != nil {
		s.count("stalled")
		// Only with the body read does net/http notice a client going away.
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-stalled:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
	if !s.allowed(r) {
		s.count("unauthorized")
		w.Header().Set("WWW-Authenticate", `Basic realm="tidegate-testplane"`)
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}
	kind, cleanUp, err := prepareBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer cleanUp()
	s.count(kind)
	handler := &cgi.Handler{
		Path:   s.backend,
		Root:   "/",
		Logger: log.New(klogWriter{}, "git: ", 0),
		Stderr: klogWriter{},
		Env: []string{
			"GIT_PROJECT_ROOT=" + s.root,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
			// Whatever the machine's own git is set to is no concern here.
			"GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_CONFIG_COUNT=4",
			"GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true",
			"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
			"GIT_CONFIG_KEY_2=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_2=true",
			"GIT_CONFIG_KEY_3=uploadpack.allowFilter", "GIT_CONFIG_VALUE_3=true",
		},
	}
	handler.ServeHTTP(w, r)
}

func (s *gitServer) allowed(r *http.Request) bool {
	if s.user == "" && s.password == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(s.user)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(s.password)) == 1
}

// prepareBody says what kind of request it is, and gives a chunked body a
// length: CGI knows none without, and git sends large pushes chunked.
func prepareBody(r *http.Request) (kind string, cleanUp func(), err error) {
	cleanUp = func() {}
	if r.Method != http.MethodPost {
		if service := r.URL.Query().Get("service"); service != "" {
			return "info/refs " + strings.TrimPrefix(service, "git-"), cleanUp, nil
		}
		return "other", cleanUp, nil
	}
	if r.ContentLength < 0 {
		file, err := os.CreateTemp("", "testplane-push-")
		if err != nil {
			return "", cleanUp, err
		}
		os.Remove(file.Name()) // the open file is enough
		cleanUp = func() { file.Close() }
		size, err := io.Copy(file, r.Body)
		if err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
		if err != nil {
			cleanUp()
			return "", func() {}, err
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(file), size, nil
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		return "receive-pack", cleanUp, nil
	case !strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		return "other", cleanUp, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cleanUp()
		return "", func() {}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	plain := body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if unzip, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			plain, _ = io.ReadAll(io.LimitReader(unzip, 256))
		}
	}
	if bytes.Contains(plain[:min(len(plain), 64)], []byte("command=ls-refs")) {
		return "ls-refs", cleanUp, nil
	}
	return "fetch", cleanUp, nil
}

// klogWriter sends what standard loggers write to the plane's own log.
type klogWriter struct{}

func (klogWriter) Write(text []byte) (int, error) {
	klog.Info(strings.TrimSpace(string(text)))
	return len(text), nil
}
