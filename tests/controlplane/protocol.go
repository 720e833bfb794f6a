package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// answer is one JSON line.
type answer map[string]any

// commandTimeout bounds one command; starting a part takes the longest.
const commandTimeout = 90 * time.Second

// readLines reads the commands. The end of input calls off whatever is being
// done, unless commands are still waiting: a plane whose commands come from
// a pipe that is closed at once is to carry them out first.
func readLines(input io.Reader, callOff context.CancelFunc) <-chan string {
	lines := make(chan string, 1024)
	go func() {
		scanner := bufio.NewScanner(input)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		idle := len(lines) == 0
		close(lines)
		if idle {
			callOff()
		}
	}()
	return lines
}

// serveLines answers commands until the input ends or ctx is done.
func serveLines(ctx context.Context, lines <-chan string, out io.Writer, handle func(context.Context, []string) (answer, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-lines:
			if !ok {
				return
			}
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			commandContext, cancel := context.WithTimeout(ctx, commandTimeout)
			reply, err := handle(commandContext, words)
			cancel()
			if reply == nil {
				reply = answer{}
			}
			reply["ok"] = err == nil
			if err != nil {
				reply["error"] = err.Error()
			}
			writeLine(out, reply)
		}
	}
}

func writeLine(out io.Writer, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // only plain values are ever written
	}
	fmt.Fprintf(out, "%s\n", text)
}

func (p *plane) handle(ctx context.Context, words []string) (answer, error) {
	verb, rest := words[0], words[1:]
	begun := time.Now()
	switch verb {
	case "status":
		return p.status(), nil
	case "compact":
		revision, err := p.compact(ctx)
		return answer{"revision": revision}, err
	case "nodes":
		return nil, p.handleNodes(rest)
	case "git":
		return handleGit(p.git, rest)
	}
	if len(rest) != 1 {
		return nil, fmt.Errorf("unknown command %q", strings.Join(words, " "))
	}
	part, err := p.part(rest[0])
	if err != nil {
		return nil, err
	}
	switch verb {
	case "stop":
		err = stopPart(ctx, part)
	case "kill":
		err = part.kill()
	case "start":
		err = startPart(ctx, part)
	case "restart":
		if err = stopPart(ctx, part); err == nil {
			err = startPart(ctx, part)
		}
	case "freeze":
		err = part.freeze()
	case "thaw":
		err = part.thaw()
	default:
		return nil, fmt.Errorf("unknown command %q", verb)
	}
	return answer{"pid": part.pid(), "seconds": round(time.Since(begun))}, err
}

func stopPart(ctx context.Context, part *part) error {
	ctx, cancel := context.WithTimeout(ctx, part.patience)
	defer cancel()
	return part.stop(ctx)
}

func startPart(ctx context.Context, part *part) error {
	if err := part.start(ctx); err != nil {
		return err
	}
	return part.awaitReady(ctx)
}

func (p *plane) handleNodes(words []string) error {
	switch strings.Join(words, " ") {
	case "pause":
		p.player.pause()
	case "resume":
		p.player.resume()
	default:
		return errors.New("nodes: want pause or resume")
	}
	return nil
}

func handleGit(server *gitServer, words []string) (answer, error) {
	if server == nil {
		return nil, errors.New("git: no --git-root was given")
	}
	switch strings.Join(words, " ") {
	case "down":
		return nil, server.down()
	case "up":
		return nil, server.up()
	case "stall":
		return nil, server.stall()
	case "log":
		return answer{"requests": server.log()}, nil
	}
	return nil, errors.New("git: want down, up, stall or log")
}

func (p *plane) status() answer {
	parts := map[string]any{}
	for _, part := range p.parts() {
		parts[part.name] = part.status()
	}
	status := answer{"parts": parts, "nodes": p.player.status(), "git": nil}
	if p.git != nil {
		status["git"] = p.git.state()
	}
	return status
}

// ready is the line that says that the plane is up.
func (p *plane) ready() answer {
	optional := func(url string) any {
		if url == "" {
			return nil
		}
		return url
	}
	line := answer{
		"kubeconfig":  p.kubeconfig,
		"server":      p.server,
		"etcdUrl":     p.etcdURL,
		"adminToken":  p.keys.adminToken,
		"caFile":      p.keys.caFile,
		"dir":         p.dir,
		"gitUrl":      nil,
		"exporterUrl": optional(p.metricsURL),
		"pids": map[string]int{
			"etcd": p.etcd.pid(), "apiserver": p.apiserver.pid(), "controllerManager": p.manager.pid()},
		"startSeconds": round(p.took),
	}
	if p.git != nil {
		line["gitUrl"] = p.git.url()
	}
	return line
}

func round(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond)) / float64(time.Second)
}
