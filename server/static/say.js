// What the page says, in its language. The server put every text into the page's template.

const template = document.getElementById("texts");
const texts = {};
for (const p of template ? template.content.querySelectorAll("[data-key]") : []) texts[p.dataset.key] = p.textContent;

export const language = document.documentElement.lang;
const plurals = new Intl.PluralRules(language);
/** The reader's own habits of dates and numbers, where they are of the page's language. */
export const locale = (navigator.languages || []).find((tag) => tag.split("-")[0] === language) || language;

/** The text of a key, with {names} filled in. */
export function say(key, values = {}) {
  return Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, value), texts[key] || key);
}

/** The text of a key in the plural form of a number. Languages with more forms than two fall back to `-other`. */
export function count(key, n) {
  const form = `${key}-${plurals.select(n)}`;
  return say(form in texts ? form : `${key}-other`, { n: n.toLocaleString(locale) });
}

/** Says something in a place of the page that is hidden while there is nothing to say. */
export function tell(id, text) {
  const place = document.getElementById(id);
  place.textContent = text;
  place.hidden = !text;
}

/** A moment (RFC 3339) on the reader's own clock. */
export function moment(text) {
  return new Date(text).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}

/** An hour of a camera's clock, `2026-09-12T18`, for people. */
export function hour(text) {
  const time = new Date(`${text}:00`);
  return isNaN(time) ? text : time.toLocaleString(locale, { weekday: "short", day: "numeric", month: "short", hour: "numeric" });
}

/** A capture time as the camera's clock showed it: never converted, whatever zone the reader is in. */
export function cameraTime(text) {
  const time = new Date(text.replace(/(Z|[+-]\d\d:?\d\d)$/, ""));
  if (isNaN(time)) return null;
  return time.toLocaleString(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}
