package main

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.dev/testplane/internal/behaviour"
)

// defaultLatency is the mean time of a request of a healthy pod.
const defaultLatency = 50 * time.Millisecond

// buckets are the upper bounds of the latency histogram, in seconds.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// spread is how requests fall about their mean: the median is the mean, and
// the slowest 15 % take twice as long.
var spread = []struct{ times, share float64 }{{0.5, 0.30}, {1, 0.55}, {2, 0.15}}

// exporter plays the application's metrics. Nothing runs while nobody looks:
// the counters follow from how many pods of a kind were ready for how long,
// and are brought up to date when that number changes or they are read.
type exporter struct {
	rate float64 // requests per second of each ready pod
	now  func() time.Time

	mu     sync.Mutex
	series map[seriesKey]*series
	pods   map[types.UID]contribution
}

type seriesKey struct{ namespace, app, hash, version string }

type series struct {
	updated time.Time
	pods    int // that are ready
	// load maps each latency among the ready pods to how many have it.
	load      map[time.Duration]int
	errorRate float64 // sum of the ready pods' error shares
	total     float64
	errors    float64
	seconds   float64
	buckets   []float64
}

// contribution is what one ready pod adds to its series.
type contribution struct {
	key        seriesKey
	errorShare float64
	latency    time.Duration
}

func newExporter(rate float64) *exporter {
	return &exporter{rate: rate, now: time.Now,
		series: map[seriesKey]*series{}, pods: map[types.UID]contribution{}}
}

// observe takes note of a pod as it is now. A nil exporter takes no notes.
func (e *exporter) observe(pod *corev1.Pod) {
	if e == nil {
		return
	}
	ready := findCondition(&pod.Status, corev1.PodReady)
	if ready == nil || ready.Status != corev1.ConditionTrue || pod.DeletionTimestamp != nil {
		e.forget(pod)
		return
	}
	app := cmp.Or(pod.Labels["app.kubernetes.io/name"], pod.Labels["app"])
	if app == "" || len(pod.Spec.Containers) == 0 {
		return
	}
	c := contribution{latency: defaultLatency, key: seriesKey{
		namespace: pod.Namespace, app: app, hash: pod.Labels["pod-template-hash"],
		version: behaviour.Tag(pod.Spec.Containers[0].Image)}}
	for i := range pod.Spec.Containers {
		b, err := behaviourOf(pod, &pod.Spec.Containers[i], false)
		if err != nil {
			continue
		}
		c.errorShare = max(c.errorShare, b.ErrorShare)
		c.latency = cmp.Or(b.Latency, c.latency)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, ok := e.pods[pod.UID]; ok {
		if old == c {
			return
		}
		e.add(old, -1)
	}
	e.pods[pod.UID] = c
	e.add(c, 1)
}

func (e *exporter) forget(pod *corev1.Pod) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, ok := e.pods[pod.UID]; ok {
		delete(e.pods, pod.UID)
		e.add(old, -1)
	}
}

func (e *exporter) add(c contribution, n int) {
	s := e.series[c.key]
	if s == nil {
		s = &series{updated: e.now(), load: map[time.Duration]int{}, buckets: make([]float64, len(buckets))}
		e.series[c.key] = s
	}
	s.update(e.now(), e.rate)
	s.pods += n
	s.errorRate += float64(n) * c.errorShare
	if s.pods == 0 {
		s.errorRate = 0 // leave no rounding behind
	}
	if s.load[c.latency] += n; s.load[c.latency] == 0 {
		delete(s.load, c.latency)
	}
}

// update adds the requests since the last update.
func (s *series) update(now time.Time, rate float64) {
	requests := now.Sub(s.updated).Seconds() * rate
	s.updated = now
	s.total += requests * float64(s.pods)
	s.errors += requests * s.errorRate
	for latency, pods := range s.load {
		n := requests * float64(pods)
		s.seconds += n * latency.Seconds()
		for _, part := range spread {
			for i, bound := range buckets {
				if part.times*latency.Seconds() <= bound {
					s.buckets[i] += n * part.share
				}
			}
		}
	}
}

// ServeHTTP answers a scrape in the Prometheus text format.
func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := bufio.NewWriter(w)
	defer out.Flush()
	e.mu.Lock()
	defer e.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(e.series), func(a, b seriesKey) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.app, b.app),
			cmp.Compare(a.hash, b.hash), cmp.Compare(a.version, b.version))
	})
	now := e.now()
	for _, key := range keys {
		e.series[key].update(now, e.rate)
	}
	family := func(name, kind, help string, write func(labels string, s *series)) {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, k := range keys {
			write(fmt.Sprintf("namespace=%q,app=%q,pod_template_hash=%q,version=%q",
				k.namespace, k.app, k.hash, k.version), e.series[k])
		}
	}
	family("app_requests_total", "counter", "Requests answered.", func(labels string, s *series) {
		total, bad := math.Floor(s.total), math.Floor(s.errors)
		fmt.Fprintf(out, "app_requests_total{%s,code=\"200\"} %.0f\n", labels, max(0, total-bad))
		fmt.Fprintf(out, "app_requests_total{%s,code=\"500\"} %.0f\n", labels, bad)
	})
	family("app_request_duration_seconds", "histogram", "Time taken by requests.", func(labels string, s *series) {
		for i, bound := range buckets {
			fmt.Fprintf(out, "app_request_duration_seconds_bucket{%s,le=\"%s\"} %.0f\n", labels,
				strconv.FormatFloat(bound, 'g', -1, 64), min(math.Floor(s.buckets[i]), math.Floor(s.total)))
		}
		fmt.Fprintf(out, "app_request_duration_seconds_bucket{%s,le=\"+Inf\"} %.0f\n", labels, math.Floor(s.total))
		fmt.Fprintf(out, "app_request_duration_seconds_sum{%s} %.6f\n", labels, s.seconds)
		fmt.Fprintf(out, "app_request_duration_seconds_count{%s} %.0f\n", labels, math.Floor(s.total))
	})
	family("app_up", "gauge", "Ready pods.", func(labels string, s *series) {
		fmt.Fprintf(out, "app_up{%s} %d\n", labels, s.pods)
	})
}
