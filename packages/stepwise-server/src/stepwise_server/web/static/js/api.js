// Calls of the server's API, as any client makes them; the browser adds the login cookie.

export class ApiError extends Error {
  constructor(meta) {
    super(meta.result_msg);
    this.code = meta.result_code;
    this.subcode = meta.result_subcode;
  }
}

export async function call(endpoint, params = {}, headers = {}) {
  let response;
  try {
    response = await fetch(`/api/v999.0/${endpoint}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(params),
    });
  } catch {
    throw new Error("The server does not answer. It may have been stopped: stepwise server status");
  }
  const answer = await response.json();
  if (answer.meta.result_code !== 200) {
    if (answer.meta.result_code === 401 && endpoint !== "auth.login") {
      const here = location.pathname + location.search;
      location.assign(`/login?next=${encodeURIComponent(here)}`);
    }
    throw new ApiError(answer.meta);
  }
  return answer.data;
}

export function login(user, password) {
  const text = new TextEncoder().encode(`${user}:${password}`);
  const pair = btoa(Array.from(text, (byte) => String.fromCharCode(byte)).join(""));
  return call("auth.login", {}, { Authorization: `Basic ${pair}` });
}
