package main

import (
	"os"
	"path/filepath"
	_ "time/tzdata" // for the time zones of CronJobs

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // for kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// embedded are the whole programs this executable can be. One executable
// links them all because they share nearly all of their code: four would
// take four times the disk and most of four times the build.
var embedded = map[string]func(){
	"etcd": func() { etcdmain.Main(os.Args) },
	"kube-apiserver": func() {
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	},
	"kube-controller-manager": func() {
		os.Exit(cli.Run(manager.NewControllerManagerCommand()))
	},
	"kubectl": func() {
		logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) // as the real one does
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	},
}

// runEmbedded becomes one of the embedded programs if the program's own name
// (a link called kubectl, or the name the plane starts its parts under) or
// the first argument asks for it. os.Args is made to look as it would to the
// real program: client-go takes the user agent, and the API server in turn
// the field manager, from the program's name.
func runEmbedded() bool {
	name := filepath.Base(os.Args[0])
	if _, ok := embedded[name]; !ok {
		if len(os.Args) < 2 {
			return false
		}
		name = os.Args[1]
		if _, ok := embedded[name]; !ok {
			return false
		}
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	embedded[name]()
	return true
}
