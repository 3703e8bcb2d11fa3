"""Security: access tokens, TLS, certificates and signatures of model files."""
