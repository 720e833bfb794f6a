package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// part is one child process of the plane: etcd, the API server or the
// controller manager. It can be stopped and started again with the same
// arguments, thus at the same address and on the same data.
type part struct {
	name    string // as the line protocol calls it
	program string // as the child calls itself
	args    []string
	logFile string
	// ready answers nil once the part serves.
	ready func(context.Context) error
	// addresses must be free before a start: a process that was killed, or
	// that still shuts down, may hold them for a moment.
	addresses []string
	// patience is how long the part may take to stop before it is killed.
	patience time.Duration

	mu     sync.Mutex
	cmd    *exec.Cmd // nil while stopped
	exited chan struct{}
	exit   string // how the last process ended
	frozen bool
}

// spawner starts every child from one thread that never ends. Linux sends
// the parent-death signal when the *thread* that started a child ends, so a
// thread of the Go scheduler's choosing would not do.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func (p *part) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s is running", p.name)
	}
	if err := awaitFree(ctx, p.addresses); err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := &exec.Cmd{
		// The running executable, even if its file has been replaced since.
		Path:   "/proc/self/exe",
		Args:   append([]string{p.program}, p.args...),
		Stdout: log,
		Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{
			Pdeathsig: syscall.SIGKILL,
			// An interrupt typed at a terminal is for the plane alone.
			Setpgid: true,
		},
	}
	started := make(chan error, 1)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.cmd, p.frozen, p.exit = cmd, false, ""
	p.exited = make(chan struct{})
	go p.reap(cmd, p.exited)
	return nil
}

// reap waits for the process to end.
func (p *part) reap(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.frozen, p.exit = nil, false, "exit status 0"
	if err != nil {
		p.exit = err.Error()
	}
	close(exited)
}

// awaitReady waits until the part serves, or has ended instead.
func (p *part) awaitReady(ctx context.Context) error {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	for {
		last := p.ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended (%s) before it was ready, see %s\n%s",
				p.name, p.exit, p.logFile, tail(p.logFile, 1500))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (last: %w), see %s", p.name, ctx.Err(), last, p.logFile)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// signal sends a signal to the running process.
func (p *part) signal(s syscall.Signal) (<-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil, fmt.Errorf("%s is not running", p.name)
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	switch s {
	case syscall.SIGSTOP:
		p.frozen = true
	case syscall.SIGCONT:
		p.frozen = false
	}
	return p.exited, nil
}

// stop ends the process gently, and by force once ctx is done.
func (p *part) stop(ctx context.Context) error {
	exited, err := p.signal(syscall.SIGTERM)
	if err != nil {
		return err
	}
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen {
		_, _ = p.signal(syscall.SIGCONT) // it has to run to end
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return p.kill()
	}
}

func (p *part) kill() error {
	exited, err := p.signal(syscall.SIGKILL)
	if err != nil {
		return err
	}
	<-exited
	return nil
}

func (p *part) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *part) status() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cmd == nil && p.exit == "":
		return map[string]any{"state": "stopped"}
	case p.cmd == nil:
		return map[string]any{"state": "stopped", "exit": p.exit}
	case p.frozen:
		return map[string]any{"state": "frozen", "pid": p.cmd.Process.Pid}
	}
	return map[string]any{"state": "running", "pid": p.cmd.Process.Pid}
}

// probe makes a readiness check out of a URL that answers 200 when ready.
func probe(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

func awaitFree(ctx context.Context, addresses []string) error {
	for _, address := range addresses {
		for {
			listener, err := net.Listen("tcp", address)
			if err == nil {
				listener.Close()
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is taken: %w", address, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// freeAddress picks a free loopback address below the kernel's range of
// ephemeral ports. Out of that range the port of a stopped part would be
// handed to some outgoing connection sooner or later; worse, a client that
// keeps on dialling it can be given it as its own port, and so connects to
// itself.
func freeAddress() (string, error) {
	low := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low)
	}
	const first = 10240
	if low < first+1000 {
		low = 32768 // the range takes nearly all ports: nothing to avoid
	}
	var last error
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(low-first))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return address, listener.Close()
		}
		last = err
	}
	return "", fmt.Errorf("no free loopback port: %w", last)
}

func tail(file string, size int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text[max(0, len(text)-size):]))
}

// freeze stops the process in its tracks, with all its connections open.
func (p *part) freeze() error {
	_, err := p.signal(syscall.SIGSTOP)
	return err
}

// thaw lets a frozen process go on.
func (p *part) thaw() error {
	_, err := p.signal(syscall.SIGCONT)
	return err
}
