#!/usr/bin/env bash
# The number by which WhatsApp knows a Mexican mobile is not a possible phone number for
# libphonenumber and its ports.
#
# Mexico stopped dialling the 1 between +52 and a mobile number in 2019, and libphonenumber's
# numbering plan followed. WhatsApp did not: the wa_id of such a person, in callbacks and in the
# answers to sends, is still 521 and ten digits. Both Python's and JavaScript's port read
# +5215555500131 without an error, and then say that it is too long, so that it is neither possible
# nor valid; formatting it keeps the 1, and it is no match for +525555500131. Brazil's extra 9,
# the other well-known difference, is accepted in both forms, as two different numbers.
#
# A notification service that checks the sender of a callback with this library refuses every
# Mexican customer, and one that only formats numbers takes the person who writes for somebody
# else than the one it has written to: their STOP does not hold.
#
# Needs python3 with pip, node and npm. Exits with 1 if any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv >/dev/null
venv/bin/pip install --quiet --disable-pip-version-check phonenumbers==9.0.20
venv/bin/python - >python.txt <<'PY'
import phonenumbers as p

for text in ["+5215555500131", "+525555500131", "+5511955500131", "+551155500131"]:
    n = p.parse(text, None)
    reason = {v: k for k, v in vars(p.ValidationResult).items() if not k.startswith("_")}
    print(text, p.format_number(n, p.PhoneNumberFormat.E164),
          reason[p.is_possible_number_with_reason(n)])
print("mexico", p.is_number_match("+5215555500131", "+525555500131") == p.MatchType.EXACT_MATCH)
print("brazil", p.is_number_match("+5511955500131", "+551155500131") == p.MatchType.EXACT_MATCH)
print("version", p.__version__)
PY

npm init -y >/dev/null 2>&1
npm install --silent --no-audit --no-fund libphonenumber-js@1.12.24 >/dev/null
node - >node.txt <<'JS'
const { parsePhoneNumber } = require("libphonenumber-js/max");
for (const text of ["+5215555500131", "+525555500131", "+5511955500131", "+551155500131"]) {
  const n = parsePhoneNumber(text);
  console.log(text, n.number, n.isPossible());
}
JS

echo "Python, phonenumbers"
cat python.txt
echo "JavaScript, libphonenumber-js 1.12.24"
cat node.txt

expected_python='+5215555500131 +5215555500131 TOO_LONG
+525555500131 +525555500131 IS_POSSIBLE
+5511955500131 +5511955500131 IS_POSSIBLE
+551155500131 +551155500131 IS_POSSIBLE
mexico False
brazil False
version 9.0.20'
expected_node='+5215555500131 +5215555500131 false
+525555500131 +525555500131 true
+5511955500131 +5511955500131 true
+551155500131 +551155500131 true'
[ "$(cat python.txt)" = "$expected_python" ] || { echo "phonenumbers has changed"; exit 1; }
[ "$(cat node.txt)" = "$expected_node" ] || { echo "libphonenumber-js has changed"; exit 1; }
echo "as described"
