/** Calls to the service: their key, their patience, and why there is no answer. */

import { $, onSubmit } from "./dom.js";
import { sentence } from "./words.js";

const TIMEOUT_MS = 60_000;
const KEY = "artsim-key"; // where the tab keeps it
const UNKNOWN_KEY = "The service does not know this key.";

/** Why there is no answer, in one sentence. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {{fields?: string[], passes?: boolean}} [more] the form's fields concerned; whether the same request may
   *     succeed later
   */
  constructor(message, { fields = [], passes = false } = {}) {
    super(sentence(message));
    this.fields = fields;
    this.passes = passes;
  }
}

/** @param {Response} response @returns {Promise<Failure>} */
async function failureOf(response) {
  const { error } = await response.json().catch(() => ({}));
  let message = sentence(error?.message ?? `The service answered ${response.status}`);
  const wait = Number(response.headers.get("Retry-After"));
  if (wait > 0 && !/again in/i.test(message)) message += ` Try again in ${wait} ${wait === 1 ? "second" : "seconds"}.`;
  const passes = response.status >= 500 || [408, 429].includes(response.status);
  const field = error?.field === "artwork" ? "second" : error?.field; // one zone sends either
  return new Failure(message, { fields: field ? [field] : [], passes });
}

/**
 * One request, repeated with a key where the service asks for one.
 * @param {string} path
 * @param {{body?: FormData, controller?: AbortController, as?: "json" | "blob"}} [how]
 * @returns {Promise<any>} throws Failure
 */
export async function ask(path, { body, controller = new AbortController(), as = "json" } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const late = new Failure(`No answer came within ${TIMEOUT_MS / 1000} seconds`, { passes: true });
    const timer = setTimeout(() => controller.abort(late), TIMEOUT_MS);
    try {
      const response = await fetch(path, { method: body ? "POST" : "GET", body, headers, signal: controller.signal });
      if (response.ok) return await response[as]();
      const failure = await failureOf(response);
      if (response.status !== 401) throw failure;
      clearTimeout(timer);
      if (sessionStorage.getItem(KEY) === key) await askKey(key ? UNKNOWN_KEY : failure.message);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("The service could not be reached: is it running?", { passes: true });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Where a picture of the service can be shown from: an <img> cannot send a key. @param {string} path */
export async function pictureUrl(path) {
  if (!sessionStorage.getItem(KEY)) return path;
  return URL.createObjectURL(await ask(path, { as: "blob" }));
}

/** @type {Promise<void> | null} */
let asking = null;

/** Ask for a key once, however many requests wait for it; the window then hears of `newkey`. @param {string} message */
function askKey(message) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = $("key-dialog");
    $("key-message").textContent = message;
    $("key").value = "";
    dialog.onclose = () => {
      asking = null;
      if (dialog.returnValue !== "key") return reject(new Failure(message, { passes: true }));
      sessionStorage.setItem(KEY, $("key").value.trim());
      resolve();
      return window.dispatchEvent(new Event("newkey"));
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

onSubmit("key-form", () => $("key-dialog").close("key"));
$("key-cancel").addEventListener("click", () => $("key-dialog").close());
