/** A panel's news: what goes on, or why it failed. */

import { Failure } from "./api.js";
import { $, announce, make, makeButton } from "./dom.js";

const PATIENCE_MS = 300; // an answer that takes longer shows progress
const CANCELLED = new Failure("Cancelled");

/** One panel's news, with what its zones refuse. */
export class Feedback {
  /** @type {AbortController | null} */
  #controller = null;

  /** @param {string} panel @param {import("./zone.js").Zone[]} zones in it */
  constructor(panel, zones) {
    this.region = /** @type {HTMLElement} */ (document.querySelector(`[data-feedback=${panel}]`));
    this.zones = zones;
    $(panel).addEventListener("refusal", (/** @type {CustomEvent} */ event) => this.fail(event.detail));
  }

  /** Forget what was said, and what is asked. */
  reset() {
    this.#stop();
    this.#clear();
  }

  /**
   * Show what goes on until the work is done; a second call ends the first.
   * @param {string} doing @param {(controller: AbortController) => Promise<void>} work
   */
  async run(doing, work) {
    this.reset();
    const controller = (this.#controller = new AbortController());
    const isLatest = () => this.#controller === controller;
    const slow = setTimeout(() => this.#progress(doing), PATIENCE_MS);
    try {
      await work(controller);
      if (isLatest()) this.#clear();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (isLatest()) this.fail(error, () => this.run(doing, work));
    } finally {
      clearTimeout(slow);
      if (isLatest()) this.#controller = null;
    }
  }

  /** @param {Failure} failure @param {() => void} [again] what to do where it passes */
  fail(failure, again) {
    this.#clear();
    if (failure === CANCELLED) return announce(failure.message);
    const named = this.zones.filter((zone) => failure.fields.includes(zone.name));
    const unseen = this.zones.filter((zone) => zone.unseen && !failure.passes);
    for (const zone of named.length ? named : unseen) zone.mark(true);
    const box = make("div", { className: "failure" }, make("p", {}, failure.message));
    if (again && failure.passes) box.append(makeButton("Try again", again, { className: "quiet" }));
    return this.region.replaceChildren(box);
  }

  #stop() {
    this.#controller?.abort(CANCELLED);
  }

  #clear() {
    this.region.replaceChildren();
    for (const zone of this.zones) zone.mark(false);
  }

  /** @param {string} doing */
  #progress(doing) {
    const cancel = makeButton("Cancel", () => this.#stop(), { className: "quiet" });
    const bar = make("i", { "aria-hidden": "true" });
    this.region.replaceChildren(make("div", { className: "progress" }, make("p", {}, `${doing}…`), bar, cancel));
  }
}
