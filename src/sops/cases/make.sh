#!/usr/bin/env bash
# Makes the cases of this folder again: test keys, files that the real `sops` encrypted, and what it decrypts them to.
#
# Needs sops, age-keygen, gpg and ssh-keygen on PATH:
#   go install github.com/getsops/sops/v3/cmd/sops@v3.11.0
#   go install filippo.io/age/cmd/age-keygen@v1.2.1
# All keys here are for tests only: they guard nothing.
set -euo pipefail
cd "$(dirname "$0")"

work="$(mktemp -d)"
export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME" "$work/home"
export HOME="$work/home"
trap 'gpgconf --kill all; rm -rf "$work"' EXIT
rm -f ./*.agekey ./*.asc ./*.passphrase ./*.yaml ./*.json

# Keys. `other.agekey` opens nothing here.
for name in first second other; do age-keygen -o "$name.agekey" 2>/dev/null; done
ssh-keygen -q -t ed25519 -N '' -C 'test key' -f ssh-ed25519.agekey
ssh-keygen -q -t rsa -b 2048 -N '' -C 'test key' -f ssh-rsa.agekey
mv ssh-ed25519.agekey.pub ssh-rsa.agekey.pub "$work/"
first="$(age-keygen -y first.agekey)"
second="$(age-keygen -y second.agekey)"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Test open <open@example.com>' ed25519 cert never
open="$(gpg --batch --with-colons --list-keys open@example.com | awk -F: '$1 == "fpr" { print $10; exit }')"
gpg --batch --quiet --passphrase '' --quick-add-key "$open" cv25519 encr never
gpg --batch --quiet --passphrase 'a test passphrase' --pinentry-mode loopback \
    --quick-generate-key 'Test locked <locked@example.com>' rsa2048 cert,encr never
locked="$(gpg --batch --with-colons --list-keys locked@example.com | awk -F: '$1 == "fpr" { print $10; exit }')"
gpg --batch --quiet --armor --export-secret-keys "$open" >open.asc
gpg --batch --quiet --armor --passphrase 'a test passphrase' --pinentry-mode loopback --export-secret-keys "$locked" >locked.asc
printf 'a test passphrase\n' >locked.passphrase
printf '#!/bin/sh\nexec gpg --batch --pinentry-mode loopback --passphrase-file %q "$@"\n' "$PWD/locked.passphrase" >"$work/gpg"
chmod +x "$work/gpg"
export SOPS_GPG_EXEC="$work/gpg"

# encrypt NAME EXTENSION OPTION...: standard input is the plain file.
encrypt() {
    local name="$1" extension="$2"
    shift 2
    cat >"$work/plain.$extension"
    sops --encrypt "$@" "$work/plain.$extension" >"$name.$extension"
    case "$name" in refused-*) return ;; esac
    SOPS_AGE_KEY="$(cat first.agekey)" SOPS_AGE_SSH_PRIVATE_KEY_FILE="$PWD/${KEY:-ssh-ed25519.agekey}" \
        sops --decrypt "$name.$extension" >"$name.plain.$extension"
}

# A Secret as people keep them; keys are not in the order of the alphabet, which the MAC depends on.
encrypt secret yaml --age "$first,$second" --encrypted-regex '^(data|stringData)$' <<'EOF'
# A comment before.
apiVersion: v1
kind: Secret
type: Opaque
metadata:
  name: database # a comment behind
  labels: {b: second, a: first}
  annotations:
    replicas: "3"
stringData:
  username: admin
  # Nobody knows it.
  password: correct horse battery staple
  empty: ""
  config.ini: |
    [server]
    port = 5432

    [empty]
data:
  zebra: emVicmE=
  apple: YXBwbGU=
immutable: true
EOF

# Everything is encrypted, and of every type.
encrypt types yaml --age "$first" <<'EOF'
text: "true"
truth: true
lie: false
whole: 42
negative: -7
octal: 0644
hexadecimal: 0x1F
fraction: 1.50
round: 3.0
exponent: 1e3
nothing: null
empty: ""
unicode: "ü 🙂 \u2028"
long: "0123456789012345678901234567890123456789 0123456789012345678901234567890123456789 0123456789012345678901234567890123456789"
list:
  - one
  - 2
  - - nested
    - true
  - name: in a map
    value: 1
  - null
"a:b": colon
"quoted \"key\"": value
none: []
hollow: {}
plain_unencrypted:
  any: [1, 2.50, yes, "no", 007, 0o17, 1_000, 2001-12-14, 0b101, 1e3, +12, 0x_1F, 08, 1.5.2]
  empty: ~
  date: 2001-12-14 21:59:43.10
  moment: 2001-12-14t21:59:43.10-05:00
EOF

encrypt documents yaml --age "$first" --encrypted-regex '^data$' <<'EOF'
apiVersion: v1
kind: Secret
metadata: {name: one}
data: {key: b25l}
---
# Only a comment.
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two}
data: {key: two}
EOF

encrypt mac-only yaml --age "$first" --encrypted-suffix _secret --mac-only-encrypted <<'EOF'
kind: Thing
one_secret: first
open: anyone may change this
two_secret: second
EOF

encrypt unencrypted-regex yaml --age "$first" --unencrypted-regex '^(kind|metadata)$' <<'EOF'
kind: Thing
metadata: {name: thing, count: 3}
spec: {token: hidden}
EOF

encrypt unencrypted-suffix yaml --age "$first" --unencrypted-suffix _open <<'EOF'
kind_open: Thing
under_open: {deep: 1.0}
plain_unencrypted: hidden all the same
EOF

encrypt secret json --age "$first" --encrypted-regex '^(data|count)$' <<'EOF'
{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "json", "generation": 12345678901234567890, "weight": 1.50, "huge": 1e21, "tiny": 1e-7},
 "data": {"z": "last \ud83d\ude42 \/ \u00e9", "a": "first", "list": ["x", {"y": true}]}, "count": 5, "flag": true, "none": null}
EOF

encrypt pgp yaml --pgp "$open" <<<'password: kept by an OpenPGP key'
encrypt pgp-locked yaml --pgp "$locked" <<<'password: kept by a locked OpenPGP key'
encrypt both yaml --pgp "$locked" --age "$first" <<<'password: kept by either'
KEY=ssh-ed25519.agekey encrypt ssh-ed25519 yaml --age "$(cut -d' ' -f1,2 "$work/ssh-ed25519.agekey.pub")" <<<'password: kept by an SSH key'
KEY=ssh-rsa.agekey encrypt ssh-rsa yaml --age "$(cut -d' ' -f1,2 "$work/ssh-rsa.agekey.pub")" <<<'password: kept by an RSA key'

# What is refused.
cat >"$work/shamir.yaml" <<EOF
creation_rules:
  - path_regex: plain
    shamir_threshold: 2
    key_groups:
      - age: [$first]
      - age: [$second]
EOF
SOPS_CONFIG="$work/shamir.yaml" encrypt refused-shamir yaml <<<'password: split'
encrypt refused-comment-rule yaml --age "$first" --encrypted-comment-regex secret <<'EOF'
# secret
password: chosen by a comment
EOF
# A file without a word of ours, and one that only looks as if.
printf 'kind: ConfigMap\nmetadata: {name: plain}\ndata: {sops: not encrypted}\n' >open.yaml
