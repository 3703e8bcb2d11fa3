"""Security: access tokens, TLS, certificates and signatures of models."""
