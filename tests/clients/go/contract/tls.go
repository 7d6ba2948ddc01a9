package contract

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
)

// TLS is what the arguments tls_ca, tls_cert, tls_key and tls_version say; nil without tls_ca.
func (a Args) TLS() (*tls.Config, error) {
	if a["tls_ca"] == "" {
		return nil, nil
	}
	authority, err := os.ReadFile(a["tls_ca"])
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if !config.RootCAs.AppendCertsFromPEM(authority) {
		return nil, errors.New("tls_ca= holds no certificate")
	}
	switch a["tls_version"] {
	case "":
	case "1.2":
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	case "1.3":
		config.MinVersion = tls.VersionTLS13
	default:
		return nil, errors.New("tls_version= is 1.2 or 1.3")
	}
	if a["tls_cert"] == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(a["tls_cert"], a["tls_key"])
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
