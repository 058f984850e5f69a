// Asks the extender every few seconds, less often while it does not answer, and not at all while nobody looks.

import { ask, Refused } from "./session.js";

const INTERVAL = 5000; // milliseconds
const LONGEST = 60000;

/**
 * Polls until `stop` is called.
 *
 * @param heard called with `{cluster, pods}`: what has changed is new, the rest the object of before
 * @param failed called with the error when it could not be asked; one with status 401 ends the polling
 */
export class Poll {
  #heard;
  #failed;
  #tag = null;
  #latest = { cluster: null, pods: null };
  #failures = 0;
  #timer = null;
  #stopped = false;
  #asking = false;

  constructor(heard, failed) {
    this.#heard = heard;
    this.#failed = failed;
    document.addEventListener("visibilitychange", this.#onVisibility);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisibility);
  }

  async now() {
    if (this.#stopped || this.#asking) return;
    clearTimeout(this.#timer);
    this.#asking = true;
    try {
      const [cluster, pods] = await Promise.all([ask("/v1/cluster", this.#tag), ask("/v1/pods")]);
      if (this.#stopped) return;
      this.#tag = cluster?.tag ?? this.#tag;
      this.#latest = { cluster: cluster?.document ?? this.#latest.cluster, pods: pods.document };
      this.#failures = 0;
      this.#heard(this.#latest);
    } catch (error) {
      if (this.#stopped) return;
      this.#failures += 1;
      this.#failed(error);
      if (error instanceof Refused && error.status === 401) this.stop();
    } finally {
      this.#asking = false;
      this.#schedule();
    }
  }

  #schedule() {
    if (this.#stopped || document.hidden) return;
    this.#timer = setTimeout(() => this.now(), Math.min(INTERVAL * 2 ** this.#failures, LONGEST));
  }

  #onVisibility = () => {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  };
}
