package behaviour

import (
	"testing"
	"time"
)

func TestTag(t *testing.T) {
	for image, want := range map[string]string{
		"app":                            "latest",
		"app:1.0.0":                      "1.0.0",
		"registry.test:5000/team/app":    "latest",
		"registry.test:5000/app:2-crash": "2-crash",
		"app:1.2@sha256:abcdef":          "1.2",
		"app@sha256:abcdef":              "latest",
		"app:":                           "latest",
	} {
		if got := Tag(image); got != want {
			t.Errorf("Tag(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestFromImage(t *testing.T) {
	for image, want := range map[string]Behaviour{
		"app:1.0.0":            {},
		"app:1.1.0-crash":      {Crash: true},
		"app:1.2.0-crash-5s":   {Crash: true, CrashAfter: 5 * time.Second},
		"app:2.0-neverready":   {NeverReady: true},
		"app:2.0-ready-3s":     {ReadyAfter: 3 * time.Second, HasReadyAfter: true},
		"app:2.0-ready-0s":     {HasReadyAfter: true},
		"app:2.0-fail-10s":     {Fail: true, FailAfter: 10 * time.Second},
		"app:2.0-slowstop-5s":  {StopAfter: 5 * time.Second},
		"app:2.0-errors-20":    {ErrorShare: 0.2},
		"app:2.0-errors-0.5":   {ErrorShare: 0.005},
		"app:2.0-latency-1.5s": {Latency: 1500 * time.Millisecond},
		"app:2.0-pullerr":      {PullError: true},
		"app:2.0-complete-2s":  {Complete: true, CompleteAfter: 2 * time.Second},
		"app:crash":            {Crash: true},
		// Combined.
		"app:2.0-errors-20-latency-900ms-slowstop-1s": {
			ErrorShare: 0.2, Latency: 900 * time.Millisecond, StopAfter: time.Second},
		"app:2.0-crash-errors-3": {Crash: true, ErrorShare: 0.03},
		// Versions that only look like words are versions.
		"app:release-ready-candidate": {},
		"app:2.0-errors-many":         {},
		"app:2.0-errors-200":          {},
		"app:1.0-rc1-alpine":          {},
	} {
		if got := FromImage(image); got != want {
			t.Errorf("FromImage(%q) = %+v, want %+v", image, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	want := Behaviour{ErrorShare: 0.2, ReadyAfter: 3 * time.Second, HasReadyAfter: true}
	for _, text := range []string{"errors-20-ready-3s", "errors 20, ready 3s", "ready-3s,errors-20"} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ok"} {
		if got, err := Parse(text); err != nil || got != (Behaviour{}) {
			t.Errorf("Parse(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"crsh", "ready", "errors-101", "errors", "latency-fast", "crash-5"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", text, got)
		}
	}
}

var (
	timing = Timing{
		ReadyAfter:    200 * time.Millisecond,
		BackOffStart:  time.Second,
		BackOffMax:    8 * time.Second,
		CompleteAfter: time.Second,
	}
	start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
)

func TestHealthyContainer(t *testing.T) {
	c := NewContainer(Behaviour{}, Always, start)
	if next := c.Advance(start, timing); !next.IsZero() || c.Phase != Running {
		t.Fatalf("phase %v, next %v", c.Phase, next)
	}
	if ready, next := c.Ready(start, timing); ready || next != start.Add(timing.ReadyAfter) {
		t.Fatalf("ready %v, next %v", ready, next)
	}
	if ready, next := c.Ready(start.Add(time.Hour), timing); !ready || !next.IsZero() {
		t.Fatalf("ready %v, next %v", ready, next)
	}
}

func TestFailingContainer(t *testing.T) {
	c := NewContainer(FromImage("a:1-fail-10s"), Always, start)
	if ready, next := c.Ready(start.Add(time.Second), timing); !ready || next != start.Add(10*time.Second) {
		t.Fatalf("ready %v, next %v", ready, next)
	}
	if ready, next := c.Ready(start.Add(10*time.Second), timing); ready || !next.IsZero() {
		t.Fatalf("ready %v, next %v", ready, next)
	}
}

func TestCrashLoop(t *testing.T) {
	c := NewContainer(Behaviour{Crash: true}, Always, start)
	var restarts []time.Duration
	last := int32(0)
	for now := start; len(restarts) < 6; {
		next := c.Advance(now, timing)
		if next.IsZero() {
			t.Fatal("a crash loop never stands still")
		}
		if ready, _ := c.Ready(now, timing); ready {
			t.Fatal("a container that crashes at once was Ready")
		}
		if c.Restarts != last {
			last = c.Restarts
			restarts = append(restarts, c.Since.Sub(c.Last.Finished).Truncate(time.Second))
			if c.Last.Code != 1 {
				t.Fatalf("exit code %d", c.Last.Code)
			}
		}
		now = next
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
		if restarts[i] != want*time.Second {
			t.Errorf("restart %d after %v, want %ds", i+1, restarts[i], want)
		}
	}
}

func TestLateCrashIsReadyFirst(t *testing.T) {
	c := NewContainer(FromImage("a:1-crash-10s"), Always, start)
	if next := c.Advance(start.Add(time.Second), timing); next != start.Add(10*time.Second) {
		t.Fatalf("next %v", next)
	}
	if ready, _ := c.Ready(start.Add(time.Second), timing); !ready {
		t.Fatal("not ready before its crash")
	}
	c.Advance(start.Add(10*time.Second), timing)
	if ready, _ := c.Ready(start.Add(10*time.Second), timing); ready || c.Phase != Exited {
		t.Fatalf("ready %v, phase %v", ready, c.Phase)
	}
}

func TestBackOffIsForgiven(t *testing.T) {
	c := NewContainer(FromImage("a:1-crash-1m"), Always, start)
	for now := start; c.Restarts < 3; {
		now = c.Advance(now, timing)
	}
	if d := c.BackOffFor(timing); d != timing.BackOffStart {
		t.Errorf("back-off %v after long runs", d)
	}
}

func TestJobs(t *testing.T) {
	late := start.Add(time.Minute)
	for _, test := range []struct {
		behaviour string
		restart   Restart
		phase     Phase
		code      int32
	}{
		{"", Never, Done, 0},
		{"", OnFailure, Done, 0},
		{"crash", Never, Done, 1},
		{"complete-2m", Never, Running, 0},
		{"complete-1s-crash-5s", Never, Done, 0},
		{"crash-1s-complete-5s", Never, Done, 1},
	} {
		b, err := Parse(test.behaviour)
		if err != nil {
			t.Fatal(err)
		}
		c := NewContainer(b, test.restart, start)
		c.Advance(late, timing)
		if c.Phase != test.phase || c.Last != nil && c.Last.Code != test.code {
			t.Errorf("%q with %s: phase %v, last %+v", test.behaviour, test.restart, c.Phase, c.Last)
		}
	}
	c := NewContainer(Behaviour{Crash: true}, OnFailure, start)
	c.Advance(late, timing)
	if c.Restarts < 3 {
		t.Errorf("a failing container is restarted in place, got %d", c.Restarts)
	}
}

func TestPullErrorAndItsCure(t *testing.T) {
	c := NewContainer(Behaviour{PullError: true}, Always, start)
	if c.Phase != PullFailed {
		t.Fatalf("phase %v", c.Phase)
	}
	if next := c.Advance(start.Add(5*time.Second), timing); !next.IsZero() || c.Phase != PullBackOff {
		t.Fatalf("phase %v, next %v", c.Phase, next)
	}
	c.Behaviour.PullError = false
	c.Advance(start.Add(9*time.Second), timing)
	if c.Phase != Running {
		t.Fatalf("phase %v", c.Phase)
	}
}
