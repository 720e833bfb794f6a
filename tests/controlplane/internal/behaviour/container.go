package behaviour

import "time"

// Timing holds the player's defaults, the same for every container.
type Timing struct {
	// ReadyAfter is the time from start to Ready of a healthy container.
	ReadyAfter time.Duration
	// BackOffStart is the wait before the first restart; it doubles with
	// each restart up to BackOffMax.
	BackOffStart time.Duration
	BackOffMax   time.Duration
	// CompleteAfter is how long a container runs whose pod is meant to end
	// (restart policy Never or OnFailure).
	CompleteAfter time.Duration
}

// The short moments in which a state is shown before the next one.
const (
	// instant is how long a container lives that crashes at once.
	instant = 100 * time.Millisecond
	// showExit is how long "terminated" is shown before the back-off.
	showExit = 200 * time.Millisecond
	// showPull is how long ErrImagePull is shown before ImagePullBackOff.
	showPull = time.Second
)

// Restart is a pod's restart policy, with the API's spelling.
type Restart string

// The restart policies.
const (
	Always    Restart = "Always"
	OnFailure Restart = "OnFailure"
	Never     Restart = "Never"
)

// Phase is where a container stands.
type Phase int

// The phases a container goes through.
const (
	Running     Phase = iota
	PullFailed        // ErrImagePull
	PullBackOff       // ImagePullBackOff
	Exited            // terminated, about to be backed off
	BackOff           // CrashLoopBackOff
	Done              // terminated for good
)

// Exit is one end of a container.
type Exit struct {
	Code     int32
	Started  time.Time
	Finished time.Time
}

// Container is the clockwork of one played container. Its behaviour may be
// changed at any time (an annotation of a live pod can be): only Advance
// moves it on, always from the moment the present phase began.
type Container struct {
	Behaviour Behaviour
	Restart   Restart
	Phase     Phase
	// Since is when the present phase began; for Running, the start.
	Since    time.Time
	Restarts int32
	Last     *Exit
	// losses counts the exits in a row, for the back-off.
	losses int
}

// NewContainer starts a container at the moment given.
func NewContainer(b Behaviour, restart Restart, at time.Time) *Container {
	c := &Container{Behaviour: b, Restart: restart, Since: at}
	if b.PullError {
		c.Phase = PullFailed
	}
	return c
}

// Advance moves the container on to now and says when to look again; the
// zero time means that nothing will change by itself.
func (c *Container) Advance(now time.Time, t Timing) time.Time {
	for {
		until, ends := c.until(t)
		if !ends {
			return time.Time{}
		}
		if until.After(now) {
			return until
		}
		c.step(until, t)
	}
}

// until is when the present phase ends.
func (c *Container) until(t Timing) (time.Time, bool) {
	switch c.Phase {
	case PullFailed:
		return c.Since.Add(showPull), true
	case PullBackOff:
		return c.Since, !c.Behaviour.PullError
	case Exited:
		return c.Since.Add(showExit), true
	case BackOff:
		return c.Since.Add(c.backOff(t)), true
	case Running:
		_, after, ends := c.end(t)
		return c.Since.Add(after), ends
	}
	return time.Time{}, false
}

// end is how, and how long after its start, a running container ends.
func (c *Container) end(t Timing) (code int32, after time.Duration, ends bool) {
	b := c.Behaviour
	complete, hasComplete := b.CompleteAfter, b.Complete
	if !hasComplete && c.Restart != Always {
		complete, hasComplete = t.CompleteAfter, true
	}
	if b.Crash && !(b.Complete && complete < b.CrashAfter) {
		return 1, max(b.CrashAfter, instant), true
	}
	if hasComplete {
		return 0, max(complete, instant), true
	}
	return 0, 0, false
}

func (c *Container) step(at time.Time, t Timing) {
	switch c.Phase {
	case PullFailed:
		c.Phase, c.Since = PullBackOff, at
	case PullBackOff: // the pull error was taken back
		c.Phase, c.Since = Running, at
	case Exited:
		c.Phase, c.Since = BackOff, at
	case BackOff:
		c.Phase, c.Since = Running, at
		c.Restarts++
	case Running:
		code, after, _ := c.end(t)
		if after >= 2*t.BackOffMax {
			c.losses = 0 // it ran long enough to be forgiven, as with the kubelet
		}
		c.losses++
		c.Last = &Exit{Code: code, Started: c.Since, Finished: at}
		c.Phase, c.Since = Exited, at
		if c.Restart == Never || c.Restart == OnFailure && code == 0 {
			c.Phase = Done
		}
	}
}

// backOff is the wait before the next restart.
func (c *Container) backOff(t Timing) time.Duration {
	d := t.BackOffStart
	for i := 1; i < c.losses && d < t.BackOffMax; i++ {
		d *= 2
	}
	return min(d, t.BackOffMax)
}

// BackOffFor is the present back-off, for the message that shows it.
func (c *Container) BackOffFor(t Timing) time.Duration { return c.backOff(t) }

// Ready says whether the container is Ready at now, and when that may next
// change while it runs on; the zero time means never by itself.
func (c *Container) Ready(now time.Time, t Timing) (bool, time.Time) {
	b := c.Behaviour
	if c.Phase != Running || b.NeverReady || b.Crash && b.CrashAfter == 0 {
		return false, time.Time{}
	}
	from := t.ReadyAfter
	if b.HasReadyAfter {
		from = b.ReadyAfter
	}
	ready := c.Since.Add(from)
	if b.Fail {
		failed := c.Since.Add(b.FailAfter)
		if !failed.After(now) || !failed.After(ready) {
			return false, time.Time{}
		}
		if !ready.After(now) {
			return true, failed
		}
	}
	if ready.After(now) {
		return false, ready
	}
	return true, time.Time{}
}

// Resume puts a container where a pod's status says it stood, so that a
// plane started again on the same data carries on rather than starts over.
func (c *Container) Resume(restarts int32, started time.Time, running bool) {
	c.Restarts = restarts
	c.losses = int(restarts)
	if running {
		c.Phase, c.Since = Running, started
	}
}
