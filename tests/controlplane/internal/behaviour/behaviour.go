// Package behaviour holds the small grammar that says how a played pod
// behaves, and the clockwork of one played container.
//
// It depends on nothing outside the standard library, so that its tests run
// in a moment: the rest of the module needs all of Kubernetes compiled.
package behaviour

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Annotation is the pod annotation holding a behaviour. Where it is present
// the image tags are not looked at.
const Annotation = "testplane.tidegate.dev/behaviour"

// Behaviour says how one container of a pod behaves. The zero value, with
// the player's defaults filled in, is a healthy container.
type Behaviour struct {
	// ReadyAfter is the time from start to Ready; HasReadyAfter tells an
	// explicit zero from "use the player's default".
	ReadyAfter    time.Duration
	HasReadyAfter bool
	// NeverReady keeps a running container from ever becoming Ready.
	NeverReady bool
	// Fail makes the container not Ready, for good, FailAfter its start.
	Fail      bool
	FailAfter time.Duration
	// Crash ends the container with exit code 1, CrashAfter its start. A
	// container that crashes at once (CrashAfter 0) is never Ready.
	Crash      bool
	CrashAfter time.Duration
	// Complete ends the container with exit code 0, CompleteAfter its start.
	Complete      bool
	CompleteAfter time.Duration
	// PullError keeps the image from ever being pulled.
	PullError bool
	// StopAfter is how long the container takes to stop once told to.
	StopAfter time.Duration
	// ErrorShare is the share (0 to 1) of requests answered with a 500.
	ErrorShare float64
	// Latency is the mean time of a request; zero means the default.
	Latency time.Duration
}

// needs says what a word wants after it.
type needs int

const (
	nothing        needs = iota
	optionalTime         // a duration may follow
	requiredTime         // a duration has to follow
	requiredNumber       // a number (per cent) has to follow
)

var words = map[string]needs{
	"ok":         nothing,
	"ready":      requiredTime,
	"neverready": nothing,
	"fail":       requiredTime,
	"crash":      optionalTime,
	"complete":   optionalTime,
	"pullerr":    nothing,
	"slowstop":   requiredTime,
	"errors":     requiredNumber,
	"latency":    requiredTime,
}

// Parse reads a behaviour as an annotation gives it: every word has to be
// known. Words are separated by '-', ',' or white space. The empty text is
// the healthy behaviour.
func Parse(text string) (Behaviour, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool {
		return r == '-' || r == ',' || r == ' ' || r == '\t' || r == '\n'
	})
	return parse(fields, true)
}

// FromImage reads the behaviour a container image's tag names. Words that
// are not of the grammar are the version, and are passed over: an image tag
// can be anything, so this cannot fail.
func FromImage(image string) Behaviour {
	b, _ := parse(strings.Split(Tag(image), "-"), false)
	return b
}

// Tag is the tag of an image reference, or "latest" where it has none, as
// the kubelet takes it.
func Tag(image string) string {
	if i := strings.IndexByte(image, '@'); i >= 0 {
		image = image[:i]
	}
	// A colon before the last slash belongs to a registry's port.
	rest := image[strings.LastIndexByte(image, '/')+1:]
	if i := strings.IndexByte(rest, ':'); i >= 0 && i+1 < len(rest) {
		return rest[i+1:]
	}
	return "latest"
}

func parse(fields []string, strict bool) (Behaviour, error) {
	var b Behaviour
	for i := 0; i < len(fields); i++ {
		word := fields[i]
		need, known := words[word]
		if !known {
			if strict {
				return Behaviour{}, fmt.Errorf("behaviour: unknown word %q", word)
			}
			continue
		}
		var duration time.Duration
		var number float64
		found := false
		if need != nothing && i+1 < len(fields) {
			var err error
			if need == requiredNumber {
				number, err = percentage(fields[i+1])
			} else {
				duration, err = positive(fields[i+1])
			}
			found = err == nil
			if found {
				i++
			}
		}
		if !found && (need == requiredTime || need == requiredNumber) {
			if strict {
				return Behaviour{}, fmt.Errorf("behaviour: %q wants %s after it", word, need)
			}
			continue // a version that happens to hold the word
		}
		b.set(word, duration, number)
	}
	return b, nil
}

func (n needs) String() string {
	if n == requiredNumber {
		return "a number from 0 to 100"
	}
	return "a duration such as 5s"
}

func (b *Behaviour) set(word string, duration time.Duration, number float64) {
	switch word {
	case "ready":
		b.ReadyAfter, b.HasReadyAfter = duration, true
	case "neverready":
		b.NeverReady = true
	case "fail":
		b.Fail, b.FailAfter = true, duration
	case "crash":
		b.Crash, b.CrashAfter = true, duration
	case "complete":
		b.Complete, b.CompleteAfter = true, duration
	case "pullerr":
		b.PullError = true
	case "slowstop":
		b.StopAfter = duration
	case "errors":
		b.ErrorShare = number / 100
	case "latency":
		b.Latency = duration
	}
}

func positive(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("behaviour: negative duration %q", text)
	}
	return d, err
}

func percentage(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && !(n >= 0 && n <= 100) {
		err = fmt.Errorf("behaviour: %q is not from 0 to 100", text)
	}
	return n, err
}
