// What the page says, in its language. The server put every text into the page's template.

const template = document.getElementById("texts");
const texts = {};
for (const p of template ? template.content.querySelectorAll("[data-key]") : []) texts[p.dataset.key] = p.textContent;

export const language = document.documentElement.lang;
const plurals = new Intl.PluralRules(language);
/** The reader's own habits of dates and numbers, where they are of the page's language. */
export const locale = (navigator.languages || []).find((tag) => tag.split("-")[0] === language) || language;

/** A number as the reader writes it; bytes too. */
export const number = (n) => n.toLocaleString(locale);
export function size(bytes) {
  const [unit, by] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / by).toLocaleString(locale, { maximumFractionDigits: bytes < 1e7 || bytes >= 1e9 ? 1 : 0 })} ${unit}`;
}

/** The text of a key, with {names} filled in. */
export function say(key, values = {}) {
  return Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, value), texts[key] || key);
}

/** The text of a key in the plural form of a number. Languages with more forms than two fall back to `-other`. */
export function count(key, n) {
  const form = `${key}-${plurals.select(n)}`;
  return say(form in texts ? form : `${key}-other`, { n: number(n) });
}

/** Says something in a place of the page that is hidden while there is nothing to say. */
export function tell(id, text) {
  const place = document.getElementById(id);
  place.textContent = text;
  place.hidden = !text;
}

const formats = {};

/** A time as it is written; how to write it is worked out once, which takes a slow phone a while. */
function written(time, name, options) {
  formats[name] = formats[name] || new Intl.DateTimeFormat(locale, options);
  return formats[name].format(time);
}

/** A moment (RFC 3339) on the reader's own clock. */
export const moment = (text) => written(new Date(text), "moment", { dateStyle: "medium", timeStyle: "short" });

/** Its day. */
export const date = (text) => written(new Date(text), "date", { dateStyle: "medium" });

/** A moment that is mostly of today: then the time alone. */
export function lately(text) {
  const today = new Date(text).toDateString() === new Date().toDateString();
  return today ? written(new Date(text), "time", { timeStyle: "short" }) : moment(text);
}

/** An hour of a camera's clock, `2026-09-12T18`, for people. */
export function hour(text) {
  const time = new Date(`${text}:00`);
  return isNaN(time) ? text : written(time, "hour", { weekday: "short", day: "numeric", month: "short", hour: "numeric" });
}

/** A capture time as the camera's clock showed it: never converted, whatever zone the reader is in. */
export function cameraTime(text) {
  const time = new Date(text.replace(/(Z|[+-]\d\d:?\d\d)$/, ""));
  return isNaN(time) ? null : written(time, "camera", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}
