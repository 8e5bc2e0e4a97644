cluster_name = "eu"

storage "etcd" {
  address    = "http://etcd:2379"
  path       = "eu/"
  ha_enabled = "true"
}

seal "static" {
  current_key_id = "eu-1"
  current_key    = "file:///run/secrets/eu_seal"
}

# api_addr and cluster_addr are each node's own: VAULT_API_ADDR and VAULT_CLUSTER_ADDR.
listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_disable     = true
}
