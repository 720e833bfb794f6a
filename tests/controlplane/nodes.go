package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"tidegate.dev/testplane/internal/behaviour"
)

// player plays the nodes: it is the scheduler, and the kubelet of every
// node. Both work from one queue of pods, so that one pod is never handled
// twice at a time.
type player struct {
	client    kubernetes.Interface
	pods      corelisters.PodLister
	nodes     corelisters.NodeLister
	queue     workqueue.TypedRateLimitingInterface[string]
	timing    behaviour.Timing
	exporter  *exporter // nil without one
	kubelet   record.EventRecorder
	scheduler record.EventRecorder

	turn atomic.Uint64 // of the round robin over nodes
	ips  atomic.Uint32 // pod addresses handed out

	mu       sync.Mutex
	states   map[string]*podState
	unbound  map[string]struct{} // pods no node would take
	resumed  chan struct{}       // not nil while paused; closed to resume
	stopping context.CancelFunc
}

// podNetwork is 10.128.0.0/9: eight million addresses, handed out in turn,
// so that none comes back while a test might still remember its last owner.
var podNetwork = netip.MustParsePrefix("10.128.0.0/9")

// startPlayer registers the nodes and returns once the player knows what the
// API server holds.
func startPlayer(ctx context.Context, config *rest.Config, o options, e *exporter) (*player, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the player stands for many clients: no limit of its own
	config.UserAgent = "kubelet/" + kubernetesVersion
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.Wrap(func(base http.RoundTripper) http.RoundTripper { return patient{base} })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(client, 0)
	p := &player{
		client: client,
		pods:   factory.Core().V1().Pods().Lister(),
		nodes:  factory.Core().V1().Nodes().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, time.Second)),
		timing:   o.timing,
		exporter: e,
		states:   map[string]*podState{},
		unbound:  map[string]struct{}{},
		stopping: cancel,
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	p.kubelet = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet"})
	p.scheduler = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "default-scheduler"})

	for i := range o.nodes {
		if err := p.registerNode(ctx, i); err != nil {
			cancel()
			return nil, fmt.Errorf("node %d: %w", i+1, err)
		}
	}
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    p.podChanged,
		UpdateFunc: func(_, pod any) { p.podChanged(pod) },
		DeleteFunc: p.podDeleted,
	}); err != nil {
		cancel()
		return nil, err
	}
	if _, err := factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { p.nodesChanged() },
		UpdateFunc: func(old, new any) { p.nodesChanged() },
	}); err != nil {
		cancel()
		return nil, err
	}
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			cancel()
			return nil, fmt.Errorf("the player got no list of %v", kind)
		}
	}
	p.recallAddresses()
	for range o.workers {
		go p.work(ctx)
	}
	return p, nil
}

// patient waits out an API server that is not there, or that has no etcd. A
// refused connection means that nothing was sent, and reading has no effect,
// so trying again is safe; and without this, informers would back off for up
// to half a minute, and go on doing so after the server is back.
type patient struct{ base http.RoundTripper }

func (t patient) RoundTrip(request *http.Request) (*http.Response, error) {
	for {
		response, err := t.base.RoundTrip(request)
		switch {
		case err == nil && request.Method == http.MethodGet && response.StatusCode >= http.StatusInternalServerError:
			response.Body.Close()
			err = errors.New(response.Status)
		case !errors.Is(err, syscall.ECONNREFUSED):
			return response, err
		}
		select {
		case <-request.Context().Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
		request = request.Clone(request.Context())
		if request.GetBody != nil {
			body, bodyErr := request.GetBody()
			if bodyErr != nil {
				return nil, err
			}
			request.Body = body
		} else if request.Body != nil {
			return nil, err
		}
	}
}

func (p *player) registerNode(ctx context.Context, index int) error {
	node := newNode(index)
	status := node.Status
	created, err := p.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // the data directory was used before
		created, err = p.client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	created.Status = status
	_, err = p.client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

func newNode(index int) *corev1.Node {
	name := fmt.Sprintf("node-%d", index+1)
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("5000"),
	}
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason,
			LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:           name,
				corev1.LabelOSStable:           "linux",
				corev1.LabelArchStable:         "amd64",
				corev1.LabelTopologyRegion:     "region-1",
				corev1.LabelTopologyZone:       "zone-" + string(rune('a'+index%3)),
				corev1.LabelInstanceTypeStable: "played",
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("172.20.%d.%d", (index+1)/250, (index+1)%250)},
				{Type: corev1.NodeHostName, Address: name},
			},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
			},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion:          kubernetesVersion,
				ContainerRuntimeVersion: "containerd://2.0.0",
				OperatingSystem:         "linux",
				Architecture:            "amd64",
				OSImage:                 "tidegate-testplane",
			},
		},
	}
}

func (p *player) podChanged(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	p.exporter.observe(pod)
	p.queue.Add(pod.Namespace + "/" + pod.Name)
}

func (p *player) podDeleted(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	p.exporter.forget(pod)
	p.queue.Add(pod.Namespace + "/" + pod.Name)
}

// nodesChanged gives the pods no node would take another try.
func (p *player) nodesChanged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.unbound {
		p.queue.Add(key)
	}
	clear(p.unbound)
}

func (p *player) work(ctx context.Context) {
	for {
		key, shutdown := p.queue.Get()
		if shutdown {
			return
		}
		if p.awaitTurn(ctx) != nil {
			return
		}
		again, err := p.sync(ctx, key)
		switch {
		case err != nil && ctx.Err() == nil:
			if !apierrors.IsConflict(err) {
				klog.InfoS("pod will be tried again", "pod", key, "err", err)
			}
			p.queue.AddRateLimited(key)
		case err == nil:
			p.queue.Forget(key)
			if again > 0 {
				p.queue.AddAfter(key, again)
			}
		}
		p.queue.Done(key)
	}
}

func (p *player) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed == nil {
		p.resumed = make(chan struct{})
	}
}

func (p *player) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed != nil {
		close(p.resumed)
		p.resumed = nil
	}
}

func (p *player) awaitTurn(ctx context.Context) error {
	p.mu.Lock()
	resumed := p.resumed
	p.mu.Unlock()
	if resumed == nil {
		return ctx.Err()
	}
	select {
	case <-resumed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *player) stop() {
	p.stopping()
	p.queue.ShutDown()
}

// bind does the scheduler's part: it picks the next node, in turn, of those
// the pod may run on. It looks at cordons, taints, node selectors and
// required node affinity (which is how the pods of a DaemonSet name their
// node), and not at resources nor at the spreading of pods.
func (p *player) bind(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 ||
		pod.Spec.SchedulerName != "" && pod.Spec.SchedulerName != corev1.DefaultSchedulerName {
		return nil
	}
	nodes, err := p.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	total := len(nodes)
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(node *corev1.Node) bool { return !fits(pod, node) })
	if len(nodes) == 0 {
		return p.markUnschedulable(ctx, pod, total)
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	node := nodes[int((p.turn.Add(1)-1)%uint64(len(nodes)))]
	err = p.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
	}, metav1.CreateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // bound or gone already: the informer is about to say so
	}
	return err
}

func (p *player) markUnschedulable(ctx context.Context, pod *corev1.Pod, nodes int) error {
	p.mu.Lock()
	p.unbound[pod.Namespace+"/"+pod.Name] = struct{}{}
	p.mu.Unlock()
	message := fmt.Sprintf("0/%d nodes are available: no node is uncordoned, tolerated and selected.", nodes)
	pod = pod.DeepCopy()
	if !setCondition(&pod.Status, corev1.PodScheduled, false, corev1.PodReasonUnschedulable, message) {
		return nil
	}
	p.scheduler.Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
	_, err := p.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return ignoreNotFound(err)
}

func fits(pod *corev1.Pod, node *corev1.Node) bool {
	if node.DeletionTimestamp != nil {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return false
		}
	}
	cordon := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	if node.Spec.Unschedulable &&
		!scheduling.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, &cordon, false) {
		return false
	}
	_, untolerated := scheduling.FindMatchingUntoleratedTaint(klog.Background(), node.Spec.Taints, pod.Spec.Tolerations,
		func(taint *corev1.Taint) bool { return taint.Effect != corev1.TaintEffectPreferNoSchedule }, false)
	if untolerated {
		return false
	}
	matches, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)
	return err == nil && matches
}

// nextAddress hands out pod addresses in turn, leaving out those that look
// like a network's own or its broadcast address.
func (p *player) nextAddress() string {
	base := podNetwork.Addr().As4()
	for {
		n := p.ips.Add(1) % (1 << (32 - podNetwork.Bits()))
		if last := n & 0xff; last == 0 || last == 0xff {
			continue
		}
		return netip.AddrFrom4([4]byte{base[0], base[1] | byte(n>>16), byte(n >> 8), byte(n)}).String()
	}
}

// recallAddresses goes on after the highest address in use, for a plane
// that was started on data it had left.
func (p *player) recallAddresses() {
	pods, _ := p.pods.List(labels.Everything())
	for _, pod := range pods {
		address, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil || !podNetwork.Contains(address) {
			continue
		}
		b := address.As4()
		n := uint32(b[1]&0x7f)<<16 | uint32(b[2])<<8 | uint32(b[3])
		p.ips.Store(max(p.ips.Load(), n))
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (p *player) status() map[string]any {
	pods, _ := p.pods.List(labels.Everything())
	ready := 0
	for _, pod := range pods {
		if c := findCondition(&pod.Status, corev1.PodReady); c != nil && c.Status == corev1.ConditionTrue {
			ready++
		}
	}
	nodes, _ := p.nodes.List(labels.Everything())
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[string]any{"paused": p.resumed != nil, "nodes": len(nodes), "pods": len(pods), "ready": ready}
}
