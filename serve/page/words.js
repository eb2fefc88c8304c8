/** Numbers, names and sentences as people read them. */

/** To a tenth, and never quite none or all. @param {number} share 0..1 */
export function percent(share) {
  if (share < 0.001) return "<0.1%";
  return share > 0.999 ? ">99.9%" : `${(100 * share).toFixed(1)}%`;
}

/** With a true minus, and no minus before nought. @param {number} similarity -1..1 */
export function signed(similarity) {
  return similarity.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");
}

/** @param {number} bytes */
export function sized(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** File names as people would write them: `idris-dornstrand` is Idris Dornstrand. @param {string} name */
export function readable(name, everyWord = true) {
  if (!name || name.includes(" ")) return name || "";
  const words = name.replace(/[-_]+/g, " ").trim();
  return words.replace(everyWord ? /(^|\s)\p{L}/gu : /^\p{L}/u, (letter) => letter.toUpperCase());
}

/** @param {string} text */
export function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** @param {string} type such as image/jpeg */
export function typeName(type) {
  return type.replace(/^image\//, "").replace("svg+xml", "svg").toUpperCase();
}
