// Makes amounts.txt and dates.txt, what Node's Intl writes, for the tests of the filters:
//
//     node src/domain/template/testdata/intl.mjs
//
// amounts.txt: for each language (l) the numbers of a whole amount (125000) and of a broken one
// (1234.5675) with 0, 2, 3 and 4 digits (n); the shapes of an amount, ¤ for the currency and #
// for the number, with the currencies that have it, or * (s); currencies whose sign is not their
// code (y); and two amounts below zero (m). Currencies that have not two digits stand first (d).
// dates.txt: for each language the long form of a day of every month.
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// Meta, "Supported languages" of message templates.
const LANGUAGES = `af sq ar ar_EG ar_AE ar_LB ar_MA ar_QA az be_BY bn bn_IN bg ca zh_CN zh_HK zh_TW hr cs da
  prs_AF nl nl_BE en en_GB en_US en_AE en_AU en_CA en_GH en_IE en_IN en_JM en_MY en_NZ en_QA en_SG en_UG en_ZA et
  fil fi fr fr_BE fr_CA fr_CH fr_CI fr_MA ka de de_AT de_CH el gu ha he hi hu id ga it ja kn kk rw_RW ko ky_KG lo lv
  lt mk ms ml mr nb ps_AF fa pl pt_BR pt_PT pa ro ru sr si_LK sk sl es es_AR es_CL es_CO es_CR es_DO es_EC es_HN
  es_MX es_PA es_PE es_ES es_UY sw sv ta te th tr uk ur uz vi zu`
  .split(/\s+/)
  .filter((language) => language);

const folder = dirname(fileURLToPath(import.meta.url));
const { node, icu, cldr } = process.versions;
const made = `# By intl.mjs: Node ${node}, ICU ${icu}, CLDR ${cldr}.`;
const bcp = (language) => language.replace("_", "-");

// Every code that CLDR names, historic ones, too.
const names = new Intl.DisplayNames("en", { type: "currency", fallback: "none" });
const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
const currencies = letters
  .flatMap((a) => letters.flatMap((b) => letters.map((c) => a + b + c)))
  .filter((code) => names.of(code));

const format = (language, currency) =>
  new Intl.NumberFormat(bcp(language), {
    style: "currency",
    currency,
    trailingZeroDisplay: "stripIfInteger",
  });
const digits = (currency) => format("en", currency).resolvedOptions().maximumFractionDigits;

const shaped = (parts) => {
  const number = (type) => ["integer", "group", "decimal", "fraction"].includes(type);
  let shape = "";
  for (const { type, value } of parts) {
    if (number(type)) shape = shape.endsWith("#") ? shape : `${shape}#`;
    else shape += type === "currency" ? "¤" : value;
  }
  return shape;
};
const of = (parts, type) => parts.filter((part) => part.type === type);
const number = (parts) =>
  parts
    .filter(({ type }) => ["integer", "group", "decimal", "fraction"].includes(type))
    .map(({ value }) => value)
    .join("");

const lines = [made, `c ${currencies.join(" ")}`];
for (const count of [0, 3, 4]) {
  lines.push(`d ${count} ${currencies.filter((code) => digits(code) === count).join(" ")}`);
}
for (const language of LANGUAGES) {
  const shapes = new Map();
  const signs = [];
  const numbers = new Set();
  const wholes = new Map();
  for (const currency of currencies) {
    const whole = format(language, currency).formatToParts(125000);
    const broken = format(language, currency).formatToParts("1234.5675");
    const shape = shaped(whole);
    if (shape !== shaped(broken)) throw new Error(`${language} ${currency}: two shapes`);
    shapes.set(shape, [...(shapes.get(shape) ?? []), currency]);
    const sign = of(whole, "currency").map(({ value }) => value).join("");
    if (sign !== currency) signs.push(`${currency}=${sign}`);
    const key = `${number(whole)}|${digits(currency)}:${number(broken)}`;
    wholes.set(key, [...(wholes.get(key) ?? []), currency]);
  }
  lines.push(`l ${language}`);
  for (const [key, having] of wholes) {
    const [whole, broken] = key.split("|");
    const count = broken.slice(0, 1);
    lines.push(`n ${count}\t${whole}\t${broken.slice(2)}\t${having.length > 12 || count !== "2" ? "*" : having.join(" ")}`);
  }
  const largest = Math.max(...[...shapes.values()].map((having) => having.length));
  for (const [shape, having] of shapes) {
    lines.push(`s ${shape}\t${having.length === largest ? "*" : having.join(" ")}`);
  }
  lines.push(`y ${signs.join("\t")}`);
  for (const currency of ["USD", "CHF"]) {
    lines.push(`m ${currency}\t${format(language, currency).format("-1234.5")}`);
  }
}
writeFileSync(join(folder, "amounts.txt"), `${lines.join("\n")}\n`);

const days = letters.slice(0, 12).map((_, month) => new Date(Date.UTC(2026, month, 1 + month * 2)));
const dates = [made, days.map((day) => day.toISOString().slice(0, 10)).join("\t")];
for (const language of LANGUAGES) {
  const long = new Intl.DateTimeFormat(bcp(language), { dateStyle: "long", timeZone: "UTC" });
  dates.push([language, ...days.map((day) => long.format(day))].join("\t"));
}
writeFileSync(join(folder, "dates.txt"), `${dates.join("\n")}\n`);
