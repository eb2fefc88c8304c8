/** Two pictures compared: their similarity, beside pairs that are known, and how likely one is made from the other. */

import { ask, Failure } from "./api.js";
import { $, announce, make, onSubmit, reveal } from "./dom.js";
import { Feedback } from "./feedback.js";
import { showMatches, toggleMatches, turned, wantsMatches } from "./matches.js";
import { percent, sentence, signed } from "./words.js";
import { zones } from "./zone.js";

/** @typedef {{similarity: number, percentiles: Object<string, number> | null, probability: number | null,
 *             prior: number, sentence: string, map: import("./matches.js").MatchMap | null}} Comparison */

const KINDS = { other_genre: "unrelated pairs", same_genre: "pairs of one genre", same_artist: "pairs by one artist" };
const PRIORS = [
  [1e-5, "1 in 100,000"], [1e-4, "1 in 10,000"], [1e-3, "1 in 1,000"], [0.01, "1 in 100"], [0.05, "1 in 20"],
  [0.1, "1 in 10"], [0.2, "1 in 5"], [0.5, "1 in 2"], [0.9, "9 in 10"],
];

const NO_MAP = "This model sees pictures whole: it cannot say where they match";

const { first, second } = zones;
const feedback = new Feedback("compare", [first, second]);

/** @type {Comparison | null} */
let comparison = null;

/** Compare the two pictures, or say which is missing. */
export function compare() {
  const fields = [first, second].filter((zone) => !zone.picture).map((zone) => zone.name);
  if (fields.length) return feedback.fail(new Failure(`Choose the ${fields.join(" and the ")} picture`, { fields }));
  return feedback.run("Comparing", async (controller) => {
    const body = new FormData();
    const { file, artwork } = second.picture;
    body.append("first", first.picture.file);
    if (artwork) body.append("artwork", artwork.id);
    else body.append("second", file);
    if (wantsMatches()) body.append("map", "true");
    show(await ask("/v1/compare", { body, controller }));
    if (body.has("map") && !comparison?.map) throw new Failure(NO_MAP);
  });
}

/** @param {Comparison} found */
function show(found) {
  const isNew = !comparison;
  comparison = found;
  showSimilarity(found.similarity);
  $("calibrated").hidden = !found.percentiles;
  $("uncalibrated").hidden = Boolean(found.percentiles);
  $("sentence").textContent = sentence(found.sentence ?? "");
  $("bars").replaceChildren(...Object.entries(KINDS).map(([kind, name]) => bar(name, found.percentiles?.[kind])));
  showProbability();
  $("comparison").hidden = $("map-toggle").hidden = false;
  showMatches(found.map);
  const meaning = found.percentiles ? $("sentence").textContent : "Not calibrated.";
  announce(`Similarity ${signed(found.similarity)}. ${meaning}`);
  if (isNew) reveal($("answer"));
}

/** @param {number} similarity -1..1 */
function showSimilarity(similarity) {
  $("similarity").textContent = signed(similarity);
  $("scale").setAttribute("aria-valuenow", similarity);
  $("scale").setAttribute("aria-valuetext", `${signed(similarity)}, between −1, least alike, and 1, most alike`);
  $("marker").style.left = `${50 + 50 * Math.max(-1, Math.min(1, similarity))}%`;
}

/** @param {string} name @param {number | undefined} share */
function bar(name, share) {
  if (share === undefined) {
    return make("div", { className: "unknown" }, make("dt", {}, `Against ${name}`), make("dd", {}, "not measured"));
  }
  const fill = make("span");
  fill.style.width = `${100 * share}%`;
  const outer = make("dd", { className: "bar", "aria-hidden": "true" }, fill);
  return make("div", {}, make("dt", {}, `More alike than ${name}`), make("dd", {}, percent(share)), outer);
}

/** Another prior multiplies the odds (Elkan 2001, theorem 2). */
function showProbability() {
  const [prior, words] = PRIORS[$("prior").valueAsNumber];
  $("prior").setAttribute("aria-valuetext", words);
  $("given").textContent = `if ${words} pairs where you look are.`;
  const known = comparison?.probability ?? null;
  $("chance").hidden = known === null;
  if (known === null || !comparison) return;
  const sure = Math.min(Math.max(known, 1e-15), 1 - 1e-15);
  const odds = (sure / (1 - sure)) * (prior / (1 - prior)) * ((1 - comparison.prior) / comparison.prior);
  $("probability").textContent = percent(odds / (1 + odds));
}

/** Another picture is there: what was said of the last two goes. */
function forget() {
  feedback.reset();
  comparison = null;
  $("comparison").hidden = $("map-toggle").hidden = true;
  showMatches(null);
  const isReady = first.picture && second.picture;
  $("compare-now").setAttribute("aria-disabled", String(!isReady));
  $("swap").hidden = !isReady || Boolean(second.picture.artwork); // the service takes an artwork as the second
}

/** The similarity is the same from both sides, so the answer stays. */
function swap() {
  const [kept, left, right] = [comparison, first.picture, second.picture];
  first.picture = second.picture = null; // so that their URLs stay alive
  first.put(right);
  second.put(left);
  if (kept) show({ ...kept, map: kept.map && turned(kept.map) });
}

onSubmit("compare-form", compare);
$("pair").addEventListener("picture", forget);
$("swap").addEventListener("click", swap);
$("prior").addEventListener("input", showProbability);
$("map-toggle").addEventListener("click", () => {
  toggleMatches();
  if (wantsMatches() && comparison && !comparison.map) compare();
});
showProbability();
