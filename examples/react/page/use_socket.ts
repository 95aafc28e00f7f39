/**
 * A hook for a socket in React: its state, the last message, and how to send.
 *
 * @module
 */

// @ts-types="@types/react"
import {
  useCallback,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import {
  type CheckedTypes,
  ClientSocket,
  type PageMessage,
} from "@ws/events/client/page";

/** Stays connected to a URL for as long as the component is there. */
export function useSocket<Types extends CheckedTypes<Types>>(url: string) {
  const [client] = useState(() => new ClientSocket<Types>({ reconnect: true }));
  const last = useRef<PageMessage<Types>>(undefined);
  const subscribe = useCallback((changed: () => void) => {
    const hear = (message: PageMessage<Types>) => {
      last.current = message;
      changed();
    };
    client.on("state", changed).on("message", hear);
    return () => void client.off("state", changed).off("message", hear);
  }, [client]);
  const state = useSyncExternalStore(subscribe, () => client.state);
  const message = useSyncExternalStore(subscribe, () => last.current);
  useEffect(() => {
    client.connect(url).catch(() => {}); // the state says so, too
    return () => void client.close();
  }, [client, url]);
  return { state, message, send: client.send.bind(client) };
}
