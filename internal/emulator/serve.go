package emulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
)

// RunOptions are what the command line says.
type RunOptions struct {
	Listen  string // address and port; port 0 chooses one
	TLSDir  string // speak HTTPS, and keep the CA's certificate here as ca.pem; "": HTTP
	Options Options
	Stdout  io.Writer // gets the addresses when the portal is ready
}

// stopAfter is how long requests may go on after the context has ended.
const stopAfter = 5 * time.Second

// Run serves a portal until the context ends.
func Run(ctx context.Context, o RunOptions) (err error) {
	p, err := New(o.Options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	scheme := "http"
	if o.TLSDir != "" {
		scheme = "https"
		cert, err := certificate(o.TLSDir, l.Addr(), p.now())
		if err != nil {
			return errors.Join(fmt.Errorf("certificate: %w", err), l.Close())
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	quiet := p.log.WriterLevel(logrus.DebugLevel) // debug: the server complains about clients that break off
	defer func() { _ = quiet.Close() }()
	s := &http.Server{Handler: p.Handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: stdlog.New(quiet, "", 0)}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	base := scheme + "://" + l.Addr().String()
	p.SetAddress(base)
	if _, err := fmt.Fprintf(o.Stdout, "webhook: %s/rest/%s/%s/\npage: %s/\napplication: client_id %s, client_secret %s, tokens at %s/oauth/token/\n",
		base, webhookUser, webhookCode, base, p.app.ID, p.app.Secret, base); err != nil {
		return errors.Join(fmt.Errorf("print addresses: %w", err), s.Close())
	}
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopAfter)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		return s.Close() // whoever still waits is cut off
	}
	return nil
}

const (
	certificateLife = 10 * 365 * 24 * time.Hour
	// clocks of clients may be behind
	certificateEarly = 24 * time.Hour
)

// certificate makes one for the address, signed by the CA in dir. The CA is made once, so that clients need to be told only once.
func certificate(dir string, addr net.Addr, now time.Time) (tls.Certificate, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return tls.Certificate{}, err
	}
	ca, caKey, err := authority(dir, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t, err := template509("sverka emulate", now)
	if err != nil {
		return tls.Certificate{}, err
	}
	t.DNSNames = []string{"localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		t.IPAddresses = append(t.IPAddresses, tcp.IP)
	}
	if name, err := os.Hostname(); err == nil {
		t.DNSNames = append(t.DNSNames, name)
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}, nil
}

func template509(name string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-certificateEarly), NotAfter: now.Add(certificateLife),
		BasicConstraintsValid: true,
	}, nil
}

// authority reads the CA from dir, or makes one there.
func authority(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); {
	case err == nil && ok:
		return pair.Leaf, key, nil
	case err == nil:
		return nil, nil, fmt.Errorf("%s is no key of this CA's kind", keyFile)
	case !errors.Is(err, os.ErrNotExist):
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t, err := template509("sverka emulate CA", now)
	if err != nil {
		return nil, nil, err
	}
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}
