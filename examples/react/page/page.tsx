/** A page with the hook: two rooms, what comes from them, and a way to leave. */

// @ts-types="@types/react"
import { StrictMode, useState } from "react";
// @ts-types="@types/react-dom/client"
import { createRoot } from "react-dom/client";
import { useSocket } from "./use_socket.ts";

function Room({ name }: { readonly name: string }) {
  const url = new URL(`/rooms/${name}`, location.href).href;
  const { state, message, send } = useSocket<{ incoming: string }>(url);
  return (
    <section>
      <p>
        {name} is <output>{state}</output>
      </p>
      <p id="message">{message?.data}</p>
      <button type="button" onClick={() => send(`hello, ${name}`)}>
        Say hello
      </button>
    </section>
  );
}

function App() {
  const [name, setName] = useState<string>();
  return (
    <main>
      <button type="button" onClick={() => setName("tea")}>Tea</button>
      <button type="button" onClick={() => setName("coffee")}>Coffee</button>
      <button type="button" onClick={() => setName(undefined)}>Leave</button>
      {name && <Room name={name} />}
    </main>
  );
}

const root = document.createElement("div");
document.body.append(root);
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
