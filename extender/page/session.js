// The token, and requests that show it. It is kept for this tab alone, and never stands in an address.

const KEY = "gpu-topology-token";

/** The extender said no; `status` is HTTP's. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function dropToken() {
  sessionStorage.removeItem(KEY);
}

/** The answer's JSON and tag; null for one whose tag is known already. Throws `Refused`, or what fetch throws. */
export async function ask(path, knownTag = null) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  if (knownTag) headers["if-none-match"] = knownTag;
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error" });
  if (answer.status === 304) return null;
  const document = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, document?.detail ?? `the extender answered ${answer.status}`);
  return { document, tag: answer.headers.get("etag") };
}
