package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// kubernetesVersion is the version this module builds; build.sh links the
// same into the parts, which otherwise give one that clients cannot parse.
const kubernetesVersion = "v1.36.3"

// plane is the whole: three processes, the player, and what serves beside.
type plane struct {
	options    options
	dir        string
	temporary  bool
	keys       *pki
	server     string
	kubeconfig string
	etcdURL    string
	etcd       *part
	apiserver  *part
	manager    *part
	player     *player
	exporter   *exporter
	metricsURL string
	git        *gitServer
	took       time.Duration
}

// start brings everything up. On an error the caller still has to call
// shutdown for what was started.
func (p *plane) start(ctx context.Context) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.options.startTimeout)
	defer cancel()
	var err error
	if p.keys, err = preparePKI(filepath.Join(p.dir, "pki")); err != nil {
		return err
	}
	if err := p.layOut(); err != nil {
		return err
	}
	if p.options.exporter {
		p.exporter = newExporter(p.options.rate)
		if err := p.serveMetrics(); err != nil {
			return err
		}
	}
	if p.options.gitRoot != "" {
		p.git, err = newGitServer(ctx, p.options.gitRoot, p.options.gitUser, p.options.gitPassword)
		if err != nil {
			return fmt.Errorf("git server: %w", err)
		}
	}
	// The API server spends its first second on itself: etcd is there by then.
	for _, part := range []*part{p.etcd, p.apiserver} {
		if err := part.start(ctx); err != nil {
			return err
		}
	}
	for _, part := range []*part{p.etcd, p.apiserver} {
		if err := part.awaitReady(ctx); err != nil {
			return err
		}
	}
	if err := p.manager.start(ctx); err != nil {
		return err
	}
	// The player outlives the start, so it does not get the start's context.
	if p.player, err = startPlayer(context.WithoutCancel(ctx), p.restConfig(p.keys.nodeToken), p.options, p.exporter); err != nil {
		return err
	}
	if err := p.manager.awaitReady(ctx); err != nil {
		return err
	}
	if err := p.awaitControllers(ctx); err != nil {
		return err
	}
	p.took = time.Since(begun)
	return nil
}

// layOut decides on addresses and says how each part is run.
func (p *plane) layOut() error {
	var addresses [4]string
	for i := range addresses {
		var err error
		if addresses[i], err = freeAddress(); err != nil {
			return err
		}
	}
	etcd, peer, api, manager := addresses[0], addresses[1], addresses[2], addresses[3]
	port := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return port
	}
	at := func(name string) string { return filepath.Join(p.dir, name) }
	p.etcdURL = "http://" + etcd
	p.server = "https://" + api
	p.kubeconfig = at("admin.kubeconfig")
	if err := errors.Join(
		p.keys.writeKubeconfig(p.kubeconfig, p.server, "admin", p.keys.adminToken),
		p.keys.writeKubeconfig(at("manager.kubeconfig"), p.server, "manager", p.keys.managerToken),
	); err != nil {
		return err
	}
	client, err := p.httpsClient()
	if err != nil {
		return err
	}

	p.etcd = &part{
		name: "etcd", program: "etcd", logFile: at("etcd.log"),
		addresses: []string{etcd, peer},
		// It would wait seven seconds for its clients to leave; its log
		// makes good for a kill.
		patience: 2 * time.Second,
		ready:    probe(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, p.etcdURL+"/health"),
		args: []string{
			"--name=testplane",
			"--data-dir=" + at("etcd"),
			"--listen-client-urls=" + p.etcdURL,
			"--advertise-client-urls=" + p.etcdURL,
			"--listen-peer-urls=http://" + peer,
			"--initial-advertise-peer-urls=http://" + peer,
			"--initial-cluster=testplane=http://" + peer,
			"--quota-backend-bytes=4294967296",
			"--log-level=warn",
		},
	}
	if p.options.unsafeNoFsync {
		p.etcd.args = append(p.etcd.args, "--unsafe-no-fsync")
	}

	p.apiserver = &part{
		name: "apiserver", program: "kube-apiserver", logFile: at("apiserver.log"),
		addresses: []string{api},
		patience:  20 * time.Second,
		ready:     probe(client, p.server+"/readyz"),
		args: []string{
			"--etcd-servers=" + p.etcdURL,
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			"--secure-port=" + port(api),
			"--tls-cert-file=" + p.keys.servingCertFile,
			"--tls-private-key-file=" + p.keys.servingKeyFile,
			"--token-auth-file=" + p.keys.tokenFile,
			"--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + p.keys.saPubFile,
			"--service-account-signing-key-file=" + p.keys.saKeyFile,
			"--service-cluster-ip-range=10.96.0.0/16",
			"--endpoint-reconciler-type=none",
			// TaintNodesByCondition would taint every new node until a node
			// lifecycle controller, which the plane has none of, clears it.
			"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
			"--allow-privileged=true",
			// Watches that stay open would hold a stopping server for a
			// minute; with this it gives them two seconds.
			"--shutdown-send-retry-after=true",
			"--profiling=false",
			"--max-requests-inflight=1500",
			"--max-mutating-requests-inflight=800",
			"--etcd-count-metric-poll-period=0",
		},
	}

	if p.options.storeJSON {
		p.apiserver.args = append(p.apiserver.args, "--storage-media-type=application/json")
	}

	p.manager = &part{
		name: "controller-manager", program: "kube-controller-manager", logFile: at("controller-manager.log"),
		addresses: []string{manager},
		patience:  10 * time.Second,
		ready:     probe(client, "https://"+manager+"/healthz"),
		args: []string{
			"--kubeconfig=" + at("manager.kubeconfig"),
			"--bind-address=127.0.0.1",
			"--secure-port=" + port(manager),
			"--tls-cert-file=" + p.keys.servingCertFile,
			"--tls-private-key-file=" + p.keys.servingKeyFile,
			"--leader-elect=false",
			"--kube-api-qps=500",
			"--kube-api-burst=1000",
			"--concurrent-deployment-syncs=50",
			"--concurrent-replicaset-syncs=20",
			"--concurrent-statefulset-syncs=20",
			"--concurrent-service-endpoint-syncs=20",
			"--concurrent-namespace-syncs=20",
			"--service-account-private-key-file=" + p.keys.saKeyFile,
			"--root-ca-file=" + p.keys.caFile,
			"--profiling=false",
			// Those that judge or number nodes, and one that looks for
			// volumes to attach ten times a second.
			"--controllers=*,-node-ipam-controller,-node-lifecycle-controller," +
				"-cloud-node-lifecycle-controller,-persistentvolume-attach-detach-controller",
		},
	}
	return nil
}

func (p *plane) parts() []*part { return []*part{p.etcd, p.apiserver, p.manager} }

func (p *plane) part(name string) (*part, error) {
	for _, part := range p.parts() {
		if part.name == name {
			return part, nil
		}
	}
	return nil, fmt.Errorf("there is no part %q; there are etcd, apiserver and controller-manager", name)
}

func (p *plane) restConfig(token string) *rest.Config {
	return &rest.Config{Host: p.server, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: p.keys.caFile}}
}

func (p *plane) httpsClient() (*http.Client, error) {
	text, err := os.ReadFile(p.keys.caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", p.keys.caFile)
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: true,
	}}, nil
}

// awaitControllers waits for the service account that the controller manager
// makes in every namespace: once it is there, the controllers work.
func (p *plane) awaitControllers(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(p.restConfig(p.keys.adminToken))
	if err != nil {
		return err
	}
	for {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the controllers do not work: %w", ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func (p *plane) serveMetrics() error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.exporter)
	p.metricsURL = "http://" + address + "/metrics"
	go http.Serve(listener, mux)
	return nil
}

// compact makes etcd forget all revisions but the present one.
func (p *plane) compact(ctx context.Context) (int64, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{p.etcdURL}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	now, err := client.Get(ctx, "revision")
	if err != nil {
		return 0, err
	}
	_, err = client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	return now.Header.Revision, err
}

// shutdown ends everything. The API server and the controller manager keep
// nothing, and are killed outright; so is etcd if its data goes anyway.
func (p *plane) shutdown() {
	if p.player != nil {
		p.player.stop()
	}
	if p.git != nil {
		_ = p.git.down()
	}
	var all sync.WaitGroup
	for _, part := range p.parts() {
		if part == nil {
			continue
		}
		all.Go(func() {
			if part == p.etcd && !p.temporary {
				_ = stopPart(context.Background(), part)
				return
			}
			_ = part.kill()
		})
	}
	all.Wait()
	if p.temporary {
		_ = os.RemoveAll(p.dir)
	}
}
