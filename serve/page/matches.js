/** Where two pictures match: drawn over both of them, and listed beneath. */

import { $, draw, make } from "./dom.js";
import { signed } from "./words.js";
import { zones } from "./zone.js";

/** @typedef {{first: [number, number], second: [number, number], similarity: number}} Match  x, y: 0..1 of a picture */
/** @typedef {{matches: Match[], grid: number}} MatchMap  strongest first; patches along a side */

const NUM_MATCHES = 12; // shown at first
const INKS = [
  "#b3261e", "#1f5fbf", "#1b7f4b", "#8a3ab9", "#a85b00", "#00727f",
  "#c2185b", "#4f6d00", "#5b4bd6", "#7a4a2b", "#00639c", "#9c2f7c",
]; // white numbers on them have a contrast of 4.5 or more

/** @type {MatchMap | null} */
let known = null;
let numShown = NUM_MATCHES;

/** Whether someone asked to see where they match. */
export const wantsMatches = () => $("map-toggle").getAttribute("aria-pressed") === "true";

/** Show them, or hide them. */
export function toggleMatches() {
  $("map-toggle").setAttribute("aria-pressed", String(!wantsMatches()));
  numShown = NUM_MATCHES;
  redraw();
}

/** What is known of where the pictures match. @param {MatchMap | null} map */
export function showMatches(map) {
  known = map;
  redraw();
}

/** The same matches, seen from the other picture. @param {MatchMap} map @returns {MatchMap} */
export function turned({ matches, grid }) {
  return { matches: matches.map((match) => ({ ...match, first: match.second, second: match.first })), grid };
}

function redraw() {
  const map = wantsMatches() ? known : null;
  const [first, second] = [zones.first.content(), zones.second.content()];
  $("matches").hidden = !map;
  $("overlay").toggleAttribute("hidden", !map || !first || !second);
  if (!map) return;
  const shown = map.matches.slice(0, numShown);
  if (first && second) overlay(shown, first, second, map.grid);
  $("match-list").replaceChildren(...shown.map(listed));
  $("matches-hint").textContent = map.matches.length
    ? "Equal numbers are the patches that each picture finds most alike in the other, strongest first."
    : "No patch of one is the nearest of the other's nearest: they match nowhere in particular.";
  $("all-matches").hidden = map.matches.length <= numShown;
  $("all-matches").textContent = `Show all ${map.matches.length}`;
}

/** @param {Match[]} matches @param {DOMRect} left @param {DOMRect} right @param {number} grid patches along a side */
function overlay(matches, left, right, grid) {
  const origin = $("pair").getBoundingClientRect();
  const at = ([x, y], place) => [place.left - origin.left + x * place.width, place.top - origin.top + y * place.height];
  const lines = matches.map(({ first, second }, number) => line(number, at(first, left), at(second, right)));
  const points = matches.map(({ first, second }, number) => {
    const marks = [...patch(number, at(first, left), left, grid), ...patch(number, at(second, right), right, grid)];
    return draw("g", { "data-match": number }, ...marks);
  });
  $("overlay").classList.toggle("stacked", right.top > left.bottom);
  $("overlay").replaceChildren(...lines, ...points); // no line crosses a number
}

/** @param {number} number */
const ink = (number) => INKS[number % INKS.length];

/** @param {number} number @param {number[]} from @param {number[]} to */
function line(number, [x1, y1], [x2, y2]) {
  const halo = draw("line", { x1, y1, x2, y2, class: "halo" });
  return draw("g", { "data-match": number }, halo, draw("line", { x1, y1, x2, y2, stroke: ink(number) }));
}

/** A patch and its number. @param {number} number @param {number[]} at @param {DOMRect} place @param {number} grid */
function patch(number, [x, y], place, grid) {
  const [width, height] = [place.width / grid, place.height / grid];
  const outline = { x: x - width / 2, y: y - height / 2, width, height, stroke: ink(number), class: "patch" };
  const dot = draw("circle", { cx: x, cy: y, r: 10, fill: ink(number) });
  return [draw("rect", outline), dot, draw("text", { x, y }, String(number + 1))];
}

/** @param {[number, number]} point */
function whereabouts([x, y]) {
  const across = ["left", "centre", "right"][Math.min(2, Math.floor(3 * x))];
  const down = ["top", "middle", "bottom"][Math.min(2, Math.floor(3 * y))];
  return `${down} ${across}`;
}

/** @param {Match} match @param {number} at */
function listed({ first, second, similarity }, at) {
  const number = make("i", { "aria-hidden": "true" }, String(at + 1));
  number.style.background = ink(at);
  const where = `${whereabouts(first)} of the first, ${whereabouts(second)} of the second`;
  const given = { type: "button", "aria-label": `Match ${at + 1}, ${signed(similarity)}: ${where}`, "data-match": at };
  return make("li", {}, make("button", given, number, signed(similarity)));
}

/** The match that is pointed at or has the focus stands out. @param {Event} event */
function light(event) {
  const on = event.type === "pointerover" || event.type === "focusin";
  const at = /** @type {HTMLElement} */ (event.target).closest("[data-match]")?.getAttribute("data-match");
  $("overlay").classList.toggle("picking", on && at !== undefined);
  for (const element of document.querySelectorAll("[data-match]")) {
    element.classList.toggle("lit", on && element.getAttribute("data-match") === at);
  }
}

for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) {
  $("overlay").addEventListener(kind, light);
  $("match-list").addEventListener(kind, light);
}
$("all-matches").addEventListener("click", () => {
  numShown = Infinity;
  redraw();
});
$("pair").addEventListener("measured", redraw);
new ResizeObserver(redraw).observe($("pair")); // also when its panel opens
