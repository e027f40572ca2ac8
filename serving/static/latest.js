// One request at a time: while it is under way only the newest further wish is kept, and asked for when it is back.

export class Latest {
  #controller = null;
  #next = null;

  constructor(fail) {
    this.fail = fail;
  }

  // work: a function of an AbortSignal that returns a promise.
  ask(work) {
    this.#next = work;
    if (!this.#controller) this.#run();
  }

  // What is under way is of no use any more.
  cancel() {
    this.#next = null;
    this.#controller?.abort();
    this.#controller = null;
  }

  async #run() {
    const controller = (this.#controller = new AbortController());
    while (this.#next && this.#controller === controller) {
      const work = this.#next;
      this.#next = null;
      try {
        await work(controller.signal);
      } catch (error) {
        if (error.name !== "AbortError" && this.#controller === controller) this.fail(error);
      }
    }
    if (this.#controller === controller) this.#controller = null;
  }
}
