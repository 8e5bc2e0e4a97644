"""hvac, unmodified, against two Lockstep servers: the addresses of an uninitialised one and of one to become its secondary.

Run by hvac.test.ts as `hvac_client.py <address> <secondary address> <secondary root token> <audit log file>`. Prints one
line per part that passed and ends with a traceback at the first thing that differs.
"""

import base64
import json
import sys
import time
import warnings

import hvac
from hvac import exceptions

warnings.simplefilter("ignore", DeprecationWarning)
address, secondary_address, secondary_root, audit_log = sys.argv[1:]
client = hvac.Client(url=address)
state = {}


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def includes(found, wanted):
    """Every member of `wanted`, however much else there is."""
    for key, value in wanted.items():
        assert key in found, f"{key!r} is missing in {found!r}"
        equal(found[key], value)


def refused(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}: {error}"
        assert text in str(error), f"{text!r} is not in {error}"
        return error
    raise AssertionError(f"{call.__name__} was not refused")


def another(token=None):
    return hvac.Client(url=address, token=token)


def wait_for(what, probe):
    for _ in range(400):
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"timed out waiting for {what}")


def init_and_unseal():
    equal(client.sys.is_initialized(), False)
    equal(client.sys.read_health_status().status_code, 501)
    made = client.sys.initialize(secret_shares=5, secret_threshold=3)
    equal(len(made["keys"]), 5)
    equal(len(made["keys_base64"]), 5)
    state["keys"] = made["keys"]
    equal(client.sys.is_initialized(), True)
    equal(client.sys.is_sealed(), True)
    equal(client.sys.read_health_status().status_code, 503)
    status = client.sys.read_seal_status()
    includes(status, {"type": "shamir", "sealed": True, "t": 3, "n": 5, "progress": 0, "nonce": ""})
    includes(client.sys.submit_unseal_key(key=made["keys"][0]), {"sealed": True, "progress": 1})
    includes(client.sys.submit_unseal_key(reset=True), {"sealed": True, "progress": 0})
    includes(client.sys.submit_unseal_keys(keys=made["keys_base64"][2:]), {"sealed": False, "progress": 0})
    equal(client.sys.is_sealed(), False)
    equal(client.is_authenticated(), False)
    client.token = made["root_token"]
    equal(client.is_authenticated(), True)
    refused(exceptions.InvalidRequest, "Vault is already initialized", client.sys.initialize)


def health_and_leader():
    equal(client.sys.read_health_status(method="HEAD").status_code, 200)
    body = client.sys.read_health_status(method="GET")
    includes(body, {"initialized": True, "sealed": False, "standby": False, "performance_standby": False})
    equal(client.sys.read_health_status(method="GET", active_code=299).status_code, 299)
    equal(client.sys.read_leader_status()["is_self"], True)
    includes(client.seal_status, {"sealed": False})
    equal(client.key_status["term"], 1)
    equal(client.ha_status["ha_enabled"], False)


def mounts():
    client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    client.sys.enable_secrets_engine("kv", path="old", description="plain", config={"default_lease_ttl": "1h"})
    client.sys.enable_secrets_engine("kv", path="here", local=True)
    found = client.sys.list_mounted_secrets_engines()
    includes(found["data"]["secret/"], {"type": "kv", "options": {"version": "2"}, "local": False})
    equal(found["data"]["here/"]["local"], True)
    equal(client.sys.retrieve_mount_option("secret", "version"), "2")
    equal(client.sys.read_mount_configuration("old")["data"]["default_lease_ttl"], 3600)
    client.sys.tune_mount_configuration("old", max_lease_ttl="2h", description="tuned", listing_visibility="unauth")
    tuned = client.sys.read_mount_configuration("old")["data"]
    includes(tuned, {"max_lease_ttl": 7200, "description": "tuned", "listing_visibility": "unauth"})
    client.sys.move_backend("old", "kv1")
    wait_for("the move", lambda: "kv1/" in client.sys.list_mounted_secrets_engines()["data"])
    refused(
        exceptions.InvalidRequest, "path is already in use at kv1/", client.sys.enable_secrets_engine, "kv", path="kv1"
    )
    client.sys.disable_secrets_engine("here")
    assert "here/" not in client.sys.list_mounted_secrets_engines()["data"]


def kv_v1():
    kv = client.secrets.kv.v1
    secret = {"user": "ada", "count": 2, "big": 12345678901234567890, "deep": {"list": [1, "two", None]}}
    kv.create_or_update_secret("app/one", secret, mount_point="kv1")
    equal(kv.read_secret("app/one", mount_point="kv1")["data"], secret)
    kv.create_or_update_secret("app/two", {"a": "b"}, method="PUT", mount_point="kv1")
    equal(kv.list_secrets("app", mount_point="kv1")["data"]["keys"], ["one", "two"])
    kv.delete_secret("app/two", mount_point="kv1")
    error = refused(exceptions.InvalidPath, "", kv.read_secret, "app/two", mount_point="kv1")
    equal(error.errors, [])
    client.write("kv1/generic", a="b")
    equal(client.read("kv1/generic")["data"], {"a": "b"})
    equal(client.list("kv1/")["data"]["keys"], ["app/", "generic"])
    client.delete("kv1/generic")
    equal(client.read("kv1/generic"), None)


def kv_v2():
    kv = client.secrets.kv.v2
    kv.configure(max_versions=20)
    includes(kv.read_configuration()["data"], {"max_versions": 20, "cas_required": False})
    equal(kv.create_or_update_secret("app", {"user": "ada", "password": "one"})["data"]["version"], 1)
    kv.create_or_update_secret("app", {"user": "ada", "password": "two"}, cas=1)
    refused(exceptions.InvalidRequest, "check-and-set parameter did not match", kv.create_or_update_secret, "app", {}, cas=1)
    kv.patch("app", {"role": "admin"})
    read = kv.read_secret_version("app")["data"]
    equal(read["data"], {"user": "ada", "password": "two", "role": "admin"})
    includes(read["metadata"], {"version": 3, "destroyed": False, "deletion_time": "", "custom_metadata": None})
    equal(kv.read_secret_version("app", version=1)["data"]["data"]["password"], "one")
    equal(kv.read_secret("app")["data"]["metadata"]["version"], 3)
    kv.update_metadata("app", max_versions=5, cas_required=True, delete_version_after="720h", custom_metadata={"o": "a"})
    metadata = kv.read_secret_metadata("app")["data"]
    includes(metadata, {"current_version": 3, "max_versions": 5, "cas_required": True, "custom_metadata": {"o": "a"}})
    equal(metadata["delete_version_after"], "720h0m0s")
    equal(sorted(metadata["versions"]), ["1", "2", "3"])
    kv.delete_latest_version_of_secret("app")
    refused(exceptions.InvalidPath, "", kv.read_secret_version, "app")
    gone = kv.read_secret_version("app", raise_on_deleted_version=False)["data"]
    equal(gone["data"], None)
    assert gone["metadata"]["deletion_time"] != ""
    kv.undelete_secret_versions("app", [3])
    equal(kv.read_secret_version("app")["data"]["metadata"]["version"], 3)
    kv.delete_secret_versions("app", [1, 2])
    kv.destroy_secret_versions("app", [1])
    equal(kv.read_secret_metadata("app")["data"]["versions"]["1"]["destroyed"], True)
    kv.create_or_update_secret("deep/er/key", {"a": "b"})
    equal(kv.list_secrets("")["data"]["keys"], ["app", "deep/"])
    kv.delete_metadata_and_all_versions("app")
    refused(exceptions.InvalidPath, "", kv.read_secret_metadata, "app")
    refused(exceptions.InvalidPath, "No value found", kv.patch, "app", {"a": "b"})


def policies():
    rules = 'path "secret/data/app/*" {\n  capabilities = ["create", "read", "update"]\n}\n'
    client.sys.create_or_update_policy("app", rules)
    read = client.sys.read_policy("app")
    # hvac's own tests compare whole objects here.
    equal(read["data"], {"name": "app", "rules": rules})
    equal((read["name"], read["rules"]), ("app", rules))
    equal(client.get_policy("app"), rules)
    equal(client.sys.list_policies()["data"]["policies"], ["app", "default", "root"])
    equal(client.sys.list_policies()["policies"], ["app", "default", "root"])
    as_json = {"path": {"secret/data/json": {"capabilities": ["read"]}}}
    client.sys.create_or_update_policy("as-json", as_json)
    equal(json.loads(client.sys.read_policy("as-json")["data"]["rules"]), as_json)
    client.sys.create_or_update_acl_policy("acl", rules)
    equal(client.sys.read_acl_policy("acl")["data"], {"name": "acl", "policy": rules})
    equal(client.sys.list_acl_policies()["data"]["keys"], ["acl", "app", "as-json", "default", "root"])
    client.sys.delete_acl_policy("acl")
    client.sys.delete_policy("as-json")
    refused(exceptions.InvalidPath, "", client.sys.read_policy, "as-json")
    refused(exceptions.InvalidRequest, "failed to parse policy", client.sys.create_or_update_policy, "bad", 'path "x" {')
    equal(client.sys.get_capabilities(["sys/mounts"])["data"]["capabilities"], ["root"])


def userpass():
    client.sys.enable_auth_method("userpass", config={"default_lease_ttl": "30m"}, description="people")
    includes(client.sys.list_auth_methods()["data"]["userpass/"], {"type": "userpass", "description": "people"})
    equal(client.sys.read_auth_method_tuning("userpass")["data"]["default_lease_ttl"], 1800)
    client.sys.tune_auth_method("userpass", max_lease_ttl="4h")
    equal(client.sys.read_auth_method_tuning("userpass")["data"]["max_lease_ttl"], 14400)
    users = client.auth.userpass
    users.create_or_update_user("ada", password="pw", policies=["app"])
    equal(users.list_user()["data"]["keys"], ["ada"])
    equal(users.read_user("ada")["data"]["policies"], ["app"])
    person = another()
    login = person.auth.userpass.login("ada", "pw")["auth"]
    includes(login, {"policies": ["app", "default"], "metadata": {"username": "ada"}, "lease_duration": 1800})
    equal(person.token, login["client_token"])
    person.secrets.kv.v2.create_or_update_secret("app/x", {"a": "b"})
    refused(exceptions.Forbidden, "permission denied", person.secrets.kv.v2.create_or_update_secret, "other", {})
    equal(person.sys.get_capabilities(["secret/data/app/x"])["data"]["secret/data/app/x"], ["create", "read", "update"])
    users.update_password_on_user("ada", "changed")
    refused(exceptions.InvalidRequest, "invalid username or password", another().auth.userpass.login, "ada", "pw")
    another().auth.userpass.login("ada", "changed")
    users.create_or_update_user("gone", password="pw")
    users.delete_user("gone")
    equal(users.list_user()["data"]["keys"], ["ada"])


def approle():
    client.sys.enable_auth_method("approle")
    role = client.auth.approle
    role.create_or_update_approle("ci", token_policies=["app"], secret_id_ttl="10m", token_ttl="15m", secret_id_num_uses=5)
    equal(role.list_roles()["data"]["keys"], ["ci"])
    includes(
        role.read_role("ci")["data"],
        {"token_policies": ["app"], "secret_id_ttl": 600, "token_ttl": 900, "secret_id_num_uses": 5, "bind_secret_id": True},
    )
    role.update_role_id("ci", "chosen")
    equal(role.read_role_id("ci")["data"]["role_id"], "chosen")
    secret = role.generate_secret_id("ci", metadata={"build": "7"})["data"]
    equal(role.list_secret_id_accessors("ci")["data"]["keys"], [secret["secret_id_accessor"]])
    equal(role.read_secret_id("ci", secret["secret_id"])["data"]["metadata"], {"build": "7"})
    equal(role.read_secret_id_accessor("ci", secret["secret_id_accessor"])["data"]["secret_id_num_uses"], 5)
    machine = another()
    login = machine.auth.approle.login(role_id="chosen", secret_id=secret["secret_id"])["auth"]
    includes(login, {"token_policies": ["app", "default"], "lease_duration": 900})
    equal(login["metadata"], {"build": "7", "role_name": "ci"})
    role.create_custom_secret_id("ci", "chosen-secret")
    another().auth.approle.login(role_id="chosen", secret_id="chosen-secret")
    role.destroy_secret_id("ci", "chosen-secret")
    role.destroy_secret_id_accessor("ci", secret["secret_id_accessor"])
    refused(
        exceptions.InvalidRequest,
        "invalid role or secret ID",
        another().auth.approle.login,
        role_id="chosen",
        secret_id="chosen-secret",
    )
    role.delete_role("ci")
    refused(exceptions.InvalidPath, "", role.list_roles)


def tokens():
    token = client.auth.token
    made = token.create(policies=["app"], ttl="30m", display_name="job", meta={"of": "ci"}, num_uses=20)["auth"]
    includes(made, {"policies": ["app", "default"], "lease_duration": 1800, "renewable": True, "num_uses": 20})
    looked = token.lookup(made["client_token"])["data"]
    includes(looked, {"id": made["client_token"], "display_name": "token-job", "meta": {"of": "ci"}, "num_uses": 20})
    equal(token.lookup_accessor(made["accessor"])["data"]["id"], "")
    assert made["accessor"] in token.list_accessors()["data"]["keys"]
    equal(token.renew(made["client_token"], increment="1h")["auth"]["lease_duration"], 3600)
    equal(token.renew_accessor(made["accessor"])["auth"]["accessor"], made["accessor"])
    own = another(made["client_token"])
    equal(own.auth.token.lookup_self()["data"]["accessor"], made["accessor"])
    own.auth.token.renew_self(increment=600)
    own.auth.token.revoke_self()
    refused(exceptions.Forbidden, "permission denied", own.auth.token.lookup_self)
    refused(exceptions.Forbidden, "bad token", token.lookup, made["client_token"])
    second = token.create(policies=["app"])["auth"]
    token.revoke_accessor(second["accessor"])
    parent = token.create(policies=["root"])["auth"]["client_token"]
    child = another(parent).auth.token.create(policies=["app"])["auth"]["client_token"]
    token.revoke_and_orphan_children(parent)
    equal(token.lookup(child)["data"]["orphan"], True)
    token.revoke(child)
    equal(token.create_orphan(policies=["app"])["auth"]["orphan"], True)
    batch = token.create(policies=["app"], type="batch", ttl="10m")["auth"]
    equal((batch["accessor"], batch["token_type"]), ("", "batch"))
    token.create_or_update_role("app", allowed_policies=["app"], orphan=True, token_period="1h")
    includes(token.read_role("app")["data"], {"allowed_policies": ["app"], "orphan": True, "token_period": 3600})
    equal(token.list_roles()["data"]["keys"], ["app"])
    of_role = token.create(role_name="app", policies=["app"])["auth"]
    includes(of_role, {"orphan": True, "lease_duration": 3600})
    refused(exceptions.InvalidRequest, "", token.create, role_name="app", policies=["other"])
    token.delete_role("app")
    refused(exceptions.InvalidPath, "", token.read_role, "app")
    token.tidy()
    leave = another(token.create(policies=["default"])["auth"]["client_token"])
    leave.logout(revoke_token=True)


def wrapping():
    wrapped = client.sys.wrap({"inside": "yes"}, ttl=90)["wrap_info"]
    includes(wrapped, {"ttl": 90, "creation_path": "sys/wrapping/wrap"})
    equal(client.sys.unwrap(wrapped["token"])["data"], {"inside": "yes"})
    refused(exceptions.InvalidRequest, "wrapping token is not valid or does not exist", client.sys.unwrap, wrapped["token"])
    made = client.auth.token.create(policies=["app"], wrap_ttl="60s")["wrap_info"]
    assert made["wrapped_accessor"] != ""
    equal(another(made["token"]).sys.unwrap()["auth"]["policies"], ["app", "default"])
    read = client.read("secret/data/deep/er/key", wrap_ttl="60s")["wrap_info"]
    equal(client.sys.unwrap(read["token"])["data"]["data"], {"a": "b"})
    refused(exceptions.InvalidRequest, "Wrap-TTL", client.read, "kv1/app/one", wrap_ttl="nonsense")


def transit():
    client.sys.enable_secrets_engine("transit")
    keys = client.secrets.transit
    keys.create_key("orders")
    includes(keys.read_key("orders")["data"], {"name": "orders", "type": "aes256-gcm96", "latest_version": 1})
    text = "NDExMSAxMTEx"
    sealed = keys.encrypt_data("orders", plaintext=text)["data"]["ciphertext"]
    equal(keys.decrypt_data("orders", ciphertext=sealed)["data"]["plaintext"], text)
    keys.rotate_key("orders")
    again = keys.rewrap_data("orders", ciphertext=sealed)["data"]["ciphertext"]
    assert again.startswith("vault:v2:"), again
    batch = keys.encrypt_data("orders", batch_input=[{"plaintext": text}, {"plaintext": text}])["data"]["batch_results"]
    opened = keys.decrypt_data("orders", batch_input=[{"ciphertext": one["ciphertext"]} for one in batch])
    equal([one["plaintext"] for one in opened["data"]["batch_results"]], [text, text])
    refused(exceptions.InvalidRequest, "invalid ciphertext: no prefix", keys.decrypt_data, "orders", ciphertext="x")
    keys.create_key("signer", key_type="ed25519", exportable=True, allow_plaintext_backup=True)
    signature = keys.sign_data("signer", hash_input=text)["data"]["signature"]
    equal(keys.verify_signed_data("signer", hash_input=text, signature=signature)["data"]["valid"], True)
    keys.create_key("rsa", key_type="rsa-2048")
    signature = keys.sign_data("rsa", hash_input=text, hash_algorithm="sha2-256", signature_algorithm="pss")
    verified = keys.verify_signed_data(
        "rsa",
        hash_input=text,
        signature=signature["data"]["signature"],
        hash_algorithm="sha2-256",
        signature_algorithm="pss",
    )
    equal(verified["data"]["valid"], True)
    equal(list(keys.export_key("signer", "signing-key")["data"]["keys"]), ["1"])
    backup = keys.backup_key("signer")["data"]["backup"]
    keys.restore_key(backup, name="restored")
    equal(keys.list_keys()["data"]["keys"], ["orders", "restored", "rsa", "signer"])
    mac = keys.generate_hmac("orders", hash_input=text, algorithm="sha2-512")["data"]["hmac"]
    assert mac.startswith("vault:v2:"), mac
    equal(len(keys.generate_random_bytes(n_bytes=16, output_format="hex")["data"]["random_bytes"]), 32)
    equal(len(keys.hash_data(text, algorithm="sha2-256")["data"]["sum"]), 64)
    data_key = keys.generate_data_key("orders", key_type="plaintext")["data"]
    equal(keys.decrypt_data("orders", ciphertext=data_key["ciphertext"])["data"]["plaintext"], data_key["plaintext"])
    keys.update_key_configuration("orders", min_decryption_version=2, deletion_allowed=True)
    client.write("transit/keys/orders/config", min_encryption_version=2)
    refused(exceptions.InvalidRequest, "", keys.decrypt_data, "orders", ciphertext=sealed)
    keys.trim_key("orders", 2)
    equal(keys.read_key("orders")["data"]["min_available_version"], 2)
    keys.delete_key("orders")
    refused(exceptions.InvalidPath, "", keys.read_key, "orders")


def audit():
    client.sys.enable_audit_device("file", options={"file_path": audit_log}, description="all", local=True)
    devices = client.sys.list_enabled_audit_devices()["data"]
    includes(devices["file/"], {"type": "file", "description": "all", "local": True, "options": {"file_path": audit_log}})
    client.write_data("kv1/audited", data={"password": "never in clear"})
    hashed = client.sys.calculate_hash("file", "never in clear")["data"]["hash"]
    text = open(audit_log).read()
    assert "never in clear" not in text
    assert hashed in text
    client.sys.disable_audit_device("file")
    equal(client.sys.list_enabled_audit_devices()["data"], {})


def leases_and_rotation():
    made = client.auth.token.create(policies=["app"], ttl="10m")["auth"]["client_token"]
    keys = client.sys.list_leases("auth/token/create")["data"]["keys"]
    lease = next(key for key in keys if not key.endswith("/"))
    includes(client.sys.read_lease(f"auth/token/create/{lease}")["data"], {"renewable": True})
    refused(exceptions.InvalidRequest, "", client.sys.read_lease, "auth/token/create/nothing")
    refused(exceptions.InvalidRequest, "lease not found", client.sys.renew_lease, "secret/nothing")
    client.sys.revoke_prefix("auth/token/create")
    refused(exceptions.Forbidden, "bad token", client.auth.token.lookup, made)
    client.sys.rotate_encryption_key()
    equal(client.sys.get_encryption_key_status()["data"]["term"], 2)


def generate_root():
    equal(client.generate_root_status["started"], False)
    started = client.sys.start_root_token_generation()
    includes(started, {"started": True, "progress": 0, "required": 3, "complete": False})
    refused(exceptions.InvalidRequest, "already in progress", client.sys.start_root_token_generation)
    for key in state["keys"][1:4]:
        last = client.sys.generate_root(key, started["nonce"])
    equal(last["complete"], True)
    token = decode_root(last["encoded_root_token"], started["otp"])
    equal(another(token).auth.token.lookup_self()["data"]["policies"], ["root"])
    client.sys.start_root_token_generation()
    client.sys.cancel_root_generation()
    equal(client.sys.read_root_generation_progress()["started"], False)


def replication():
    mode = lambda of, kind: of.read(f"sys/replication/{kind}/status")["data"]
    equal(client.read("sys/replication/status")["data"], {"dr": {"mode": "disabled"}, "performance": {"mode": "disabled"}})
    enabled = client.write("sys/replication/performance/primary/enable")
    assert "enabled as a primary for replication" in enabled["warnings"][0], enabled
    wait_for("the primary role", lambda: mode(client, "performance")["mode"] == "primary")
    issued = client.write("sys/replication/performance/primary/secondary-token", id="west")
    includes(issued["wrap_info"], {"ttl": 1800, "creation_path": "sys/replication/performance/primary/secondary-token"})
    west = hvac.Client(url=secondary_address, token=secondary_root)
    west.write("sys/replication/performance/secondary/enable", token=issued["wrap_info"]["token"])
    wait_for("the stream", lambda: mode(west, "performance").get("state") == "stream-wals")
    status = mode(client, "performance")
    includes(status, {"mode": "primary", "state": "running", "known_secondaries": ["west"]})
    here = "sys/replication/performance/primary/paths-filter/west"
    client.write_data(here, data={"mode": "deny", "paths": ["kv1/"]})
    equal(client.read(here)["data"], {"mode": "deny", "paths": ["kv1/"]})
    client.delete(here)
    equal(client.read(here), None)
    equal(west.is_authenticated(), False)
    west.auth.userpass.login("ada", "changed")
    equal(west.secrets.kv.v2.read_secret_version("app/x")["data"]["data"], {"a": "b"})
    west.secrets.kv.v2.create_or_update_secret("app/y", {"by": "west"})
    equal(client.secrets.kv.v2.read_secret_version("app/y")["data"]["data"], {"by": "west"})
    equal(west.sys.read_health_status(method="GET")["replication_performance_mode"], "secondary")
    # 473 is of performance standbys, which this server has none of; 472 is proven after turning west into a DR secondary.
    client.write("sys/replication/performance/primary/revoke-secondary", id="west")
    west.token = None
    west.token = new_root(west)
    west.write("sys/replication/performance/secondary/disable")
    wait_for("the end of the role", lambda: mode(west, "performance")["mode"] == "disabled")
    client.write("sys/replication/dr/primary/enable")
    wait_for("the primary role", lambda: mode(client, "dr")["mode"] == "primary")
    issued = client.write("sys/replication/dr/primary/secondary-token", id="dr-site")
    west.write("sys/replication/dr/secondary/enable", token=issued["wrap_info"]["token"])
    wait_for("the stream", lambda: mode(west, "dr").get("state") == "stream-wals")
    equal(west.sys.read_health_status().status_code, 472)
    equal(west.sys.read_health_status(method="GET", dr_secondary_code=299).status_code, 299)
    refused(exceptions.InvalidRequest, "path disabled in replication DR secondary mode", west.sys.list_auth_methods)


def new_root(of):
    """A root token of a performance secondary, made from the primary's shares."""
    started = of.sys.start_root_token_generation()
    for key in state["keys"][:3]:
        last = of.sys.generate_root(key, started["nonce"])
    return decode_root(last["encoded_root_token"], started["otp"])


def decode_root(encoded, otp):
    raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(left ^ right for left, right in zip(raw, otp.encode())).decode()


def seal():
    client.sys.seal()
    equal(client.sys.is_sealed(), True)
    refused(exceptions.VaultDown, "Vault is sealed", client.read, "kv1/app/one")
    equal(client.sys.read_health_status().status_code, 503)


for part in [
    init_and_unseal,
    health_and_leader,
    mounts,
    kv_v1,
    kv_v2,
    policies,
    userpass,
    approle,
    tokens,
    wrapping,
    transit,
    audit,
    leases_and_rotation,
    generate_root,
    replication,
    seal,
]:
    part()
    print("passed", part.__name__, flush=True)
