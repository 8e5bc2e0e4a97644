cluster_name = "nyc"

# Its connection_url, with the password, is the environment's VAULT_PG_CONNECTION_URL.
storage "postgresql" {
  ha_enabled = "true"
}

seal "static" {
  current_key_id = "nyc-1"
  current_key    = "file:///run/secrets/nyc_seal"
}

# api_addr and cluster_addr are each node's own: VAULT_API_ADDR and VAULT_CLUSTER_ADDR.
listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_disable     = true
}
