// What the page asks the server, and how answers arrive.

const token = location.hash.slice(1) || sessionStorage.getItem("token") || "";
sessionStorage.setItem("token", token);
history.replaceState(null, "", location.pathname);

async function call(path, body, signal) {
  const options = { headers: { "X-Token": token }, signal };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(`/api/${path}`, options);
  if (!answer.ok) {
    const plain = await answer.json().catch(() => ({}));
    const error = new Error(plain.error || (plain.lines || []).at(-1) || `the server answered ${answer.status}`);
    error.lines = plain.lines;
    throw error;
  }
  return answer;
}

export const getJSON = async (path, body) => (await call(path, body)).json();

export async function picture(path) {
  return URL.createObjectURL(await (await call(path)).blob());
}

// The server-sent events of an answer, one after another. Leaving the loop, or the page, ends the answer.
export async function* events(path, body, signal) {
  const answer = await call(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) yield JSON.parse(part.slice(6));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// All parts of a model's answer; throws what the server refused, and if the answer breaks off.
export async function* ask(run, question, options, signal) {
  yield* whole(events(`runs/${encodeURIComponent(run)}/ask/${question}`, options, signal));
}

export async function* whole(parts) {
  for await (const part of parts) {
    if (part.error) throw new Error(part.error);
    if (part.end) return;
    if (part.before === undefined) yield part; // else it only says that the question waits
  }
  throw new Error("the answer broke off: is the studio still running?");
}
