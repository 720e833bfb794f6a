#!/usr/bin/env bash
# Makes the cases of this folder again: public keys in every state, and commits that the real gpg and openssl signed.
#
# Needs gpg 2.2 or later and openssl 3. Secret keys are thrown away.
set -euo pipefail
cd "$(dirname "$0")"

work="$(mktemp -d)"
export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
trap 'gpgconf --kill all; rm -rf "$work"' EXIT
rm -f ./*.asc ./*.commit ./*.crt

cat >"$work/payload" <<'EOF'
tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904
author Test <test@example.com> 1717200000 +0000
committer Test <test@example.com> 1717200000 +0000

A commit.
EOF

# with_signature NAME: the commit with the signature on standard input.
with_signature() {
    {
        sed -n 1,3p "$work/payload"
        sed -e '1s/^/gpgsig /' -e '2,$s/^/ /'
        sed -n '4,$p' "$work/payload"
    } >"$1.commit"
}
at() { # DAY ARGUMENT...: gpg on that day
    local day="$1"
    shift
    gpg --batch --quiet --no-tty --pinentry-mode loopback --passphrase '' --faked-system-time "${day}T000000!" "$@" 2>>"$work/log"
}
commit() { # NAME DAY KEY ARGUMENT...
    local name="$1" day="$2" key="$3"
    shift 3
    at "$day" --local-user "$key" "$@" --armor --detach-sign <"$work/payload" | with_signature "$name"
}
fingerprints() { gpg --batch --with-colons --list-keys "$1" 2>>"$work/log" | awk -F: '$1 == "fpr" { print $10 }'; }
new() { # ADDRESS ALGORITHM USAGE EXPIRY ARGUMENT...: a key of 2024
    at 20240101 "${@:5}" --quick-generate-key "Test $1 <$1@example.com>" "$2" "$3" "$4"
    fingerprints "$1@example.com" | head -n 1
}
export_key() { gpg --batch --quiet --armor --export "$1" >"$2.asc"; }
# revoke KEY DAY REASON: 0 none, 1 compromised, 2 superseded, 3 retired (gpg's own numbers)
revoke() {
    printf 'y\n%s\n\ny\n' "$3" | at "$2" --no-batch --command-fd 0 --gen-revoke "$1" >"$work/revocation" 2>>"$work/log"
    at "$2" --import "$work/revocation"
}

alive="$(new alive ed25519 sign never)"
export_key "$alive" alive
commit alive 20240601 "$alive"
commit text-mode 20240601 "$alive" --textmode
commit expiring-signature 20240601 "$alive" --default-sig-expire 7d

# Expires on 2025-01-01, and is renewed afterwards.
expired="$(new expired ed25519 sign never)"
commit expired-before 20240601 "$expired"
commit expired-after 20250601 "$expired"
at 20240701 --quick-set-expire "$expired" 20250101T000000
export_key "$expired" expired
at 20250701 --quick-set-expire "$expired" 20300101T000000
export_key "$expired" renewed

for reason in 1 2 3; do
    key="$(new "revoked$reason" ed25519 sign never)"
    commit "revoked$reason-before" 20240601 "$key"
    commit "revoked$reason-after" 20250601 "$key"
    if [ "$reason" = 1 ]; then export_key "$key" revoked1-old-copy; fi
    revoke "$key" 20250101 "$reason"
    export_key "$key" "revoked$reason"
done

# A key that only certifies, with subkeys in every state.
root="$(new root ed25519 cert never)"
for subkey in 'ed25519 sign never' 'ed25519 sign 20250101T000000' 'ed25519 sign never' 'rsa2048 encr never'; do
    # shellcheck disable=SC2086 # three arguments
    at 20240101 --quick-add-key "$root" $subkey
done
mapfile -t subkeys < <(fingerprints root@example.com)
commit subkey 20240601 "${subkeys[1]}!"
commit subkey-expired-before 20240601 "${subkeys[2]}!"
commit subkey-revoked-before 20240601 "${subkeys[3]}!"
printf 'key 3\nrevkey\ny\n2\n\ny\nsave\n' | at 20250101 --no-batch --command-fd 0 --edit-key "$root" >>"$work/log" 2>&1
export_key "$root" root
gpg --batch --quiet --armor --export-options export-minimal --export "${subkeys[1]}!" >root-one-subkey.asc

# Hashes that are not safe any more: in a signature, in the key's word about itself.
rsa="$(new rsa rsa2048 sign never)"
export_key "$rsa" rsa
commit rsa 20240601 "$rsa" --digest-algo SHA512
commit sha1 20240601 "$rsa" --digest-algo SHA1
old="$(new old rsa2048 sign never --cert-digest-algo SHA1)"
export_key "$old" old
commit old 20240601 "$old"

# Two signatures in one armor.
at 20240601 --local-user "$alive" --detach-sign <"$work/payload" >"$work/one"
at 20240601 --local-user "$rsa" --detach-sign <"$work/payload" >"$work/two"
cat "$work/one" "$work/two" | gpg --enarmor 2>>"$work/log" | sed -e 's/PGP ARMORED FILE/PGP SIGNATURE/' -e '/^Comment/d' | with_signature two

# X.509: an authority, those it vouches for, and one that it does not.
certificate() { # NAME ALTERNATIVE-NAME USAGE START END
    local request=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
    if [ "$1" = x509-rsa ]; then request=(-newkey rsa:2048); fi
    openssl req -batch -nodes "${request[@]}" -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>>"$work/log"
    printf 'subjectAltName=%s\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectKeyIdentifier=hash\n' "$2" "$3" >"$work/$1.ext"
    openssl ca -batch -config "$work/ca.cnf" -in "$work/$1.csr" -out "$work/$1.crt" -extfile "$work/$1.ext" \
        -startdate "$4" -enddate "$5" -notext 2>>"$work/log"
}
cms() { # NAME CERTIFICATE ARGUMENT...
    openssl cms -sign -binary -in "$work/payload" -signer "$work/$2.crt" -inkey "$work/$2.key" -outform DER "${@:3}" |
        { printf -- '-----BEGIN SIGNED MESSAGE-----\n'; base64 -w 64; printf -- '-----END SIGNED MESSAGE-----\n'; } | with_signature "$1"
}
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ncertificate=%s\nprivate_key=%s\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' \
    "$work/db" "$work/serial" "$work" "$PWD/ca.crt" "$work/ca.key" >"$work/ca.cnf"
: >"$work/db"
printf '01\n' >"$work/serial"
for name in ca other-ca; do
    openssl req -x509 -batch -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-384 -subj "/CN=Test $name" -days 36500 \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' \
        -keyout "$work/$name.key" -out "$name.crt" 2>>"$work/log"
done
certificate x509 email:ada@example.com codeSigning 20240101000000Z 20990101000000Z
certificate x509-uri URI:https://ci.example.com/job codeSigning 20240101000000Z 20990101000000Z
certificate x509-rsa email:rsa@example.com emailProtection 20240101000000Z 20990101000000Z
certificate x509-server DNS:server.example.com serverAuth 20240101000000Z 20990101000000Z
certificate x509-expired email:late@example.com codeSigning 20240101000000Z 20250101000000Z
certificate x509-early email:early@example.com codeSigning 20980101000000Z 20990101000000Z
cms x509 x509 -md sha256
cms x509-keyid x509 -md sha384 -keyid
cms x509-uri x509-uri -md sha256
cms x509-rsa x509-rsa -md sha512
cms x509-server x509-server -md sha256
cms x509-expired x509-expired -md sha256
cms x509-early x509-early -md sha256
cms x509-sha1 x509 -md sha1
cms x509-no-attributes x509 -md sha256 -noattr
cms x509-no-certificate x509 -md sha256 -nocerts
cms x509-not-detached x509 -md sha256 -nodetach
