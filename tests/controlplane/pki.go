package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// pki names the key and certificate files of one control plane. A data
// directory that is used again keeps its files, so that tokens and
// kubeconfigs made from the CA stay good.
type pki struct {
	caFile          string
	servingCertFile string
	servingKeyFile  string
	saKeyFile       string // private key service account tokens are signed with
	saPubFile       string
	tokenFile       string // the API server's static tokens
	adminToken      string
	managerToken    string
	nodeToken       string
}

func preparePKI(dir string) (*pki, error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	p := &pki{
		caFile:          at("ca.crt"),
		servingCertFile: at("serving.crt"),
		servingKeyFile:  at("serving.key"),
		saKeyFile:       at("sa.key"),
		saPubFile:       at("sa.pub"),
		tokenFile:       at("tokens.csv"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if !exists(p.servingKeyFile) {
		if err := p.makeServing(); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	if !exists(p.saPubFile) {
		if err := p.makeServiceAccountKey(); err != nil {
			return nil, fmt.Errorf("service account key: %w", err)
		}
	}
	tokens, err := p.readOrMakeTokens(at("tokens.txt"))
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	p.adminToken, p.managerToken, p.nodeToken = tokens[0], tokens[1], tokens[2]
	return p, nil
}

// makeServing makes a CA and a certificate signed by it, rather than one
// self-signed certificate: strict clients (rustls) refuse an end-entity
// certificate that is its own authority.
func (p *pki) makeServing() error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "tidegate-testplane-ca"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	ca, err = x509.ParseCertificate(caDER)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: "tidegate-testplane"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(p.caFile, "CERTIFICATE", caDER),
		writePEM(p.servingCertFile, "CERTIFICATE", der),
		writePEM(p.servingKeyFile, "PRIVATE KEY", keyDER),
	)
}

func (p *pki) makeServiceAccountKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(p.saKeyFile, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		writePEM(p.saPubFile, "PUBLIC KEY", pub),
	)
}

// readOrMakeTokens keeps the random tokens apart from the API server's file,
// one a line, to be read back without parsing that file's format.
func (p *pki) readOrMakeTokens(file string) ([3]string, error) {
	var tokens [3]string
	text, err := os.ReadFile(file)
	if err == nil {
		_, err = fmt.Sscan(string(text), &tokens[0], &tokens[1], &tokens[2])
		return tokens, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return tokens, err
	}
	for i := range tokens {
		raw := make([]byte, 20)
		if _, err := rand.Read(raw); err != nil {
			return tokens, err
		}
		tokens[i] = hex.EncodeToString(raw)
	}
	csv := fmt.Sprintf("%s,testplane-admin,testplane-admin,\"system:masters\"\n"+
		"%s,system:kube-controller-manager,testplane-manager,\"system:masters\"\n"+
		"%s,system:node:testplane,testplane-node,\"system:masters\"\n", tokens[0], tokens[1], tokens[2])
	return tokens, errors.Join(
		os.WriteFile(p.tokenFile, []byte(csv), 0o600),
		os.WriteFile(file, []byte(tokens[0]+"\n"+tokens[1]+"\n"+tokens[2]+"\n"), 0o600),
	)
}

// writeKubeconfig writes a kubeconfig holding the CA itself, so that the
// file can be moved about.
func (p *pki) writeKubeconfig(file, server, user, token string) error {
	ca, err := os.ReadFile(p.caFile)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["testplane"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["testplane"] = &clientcmdapi.Context{Cluster: "testplane", AuthInfo: user, Namespace: "default"}
	config.CurrentContext = "testplane"
	return clientcmd.WriteToFile(*config, file)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
