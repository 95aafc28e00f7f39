/**
 * What a channel has received and cannot emit yet: frames before it is open, and messages
 * before there is a listener.
 *
 * @module
 */

import type { MembersUpdate } from "../protocol/channel_frames.ts";
import type { Payload } from "../protocol/frames.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { sizeOf } from "../values/codec.ts";

/** A decoded frame in the channel. */
export type ChannelItem =
  | { readonly kind: "message"; readonly payload: Payload }
  | { readonly kind: "recovery"; readonly recovered: boolean }
  | { readonly kind: "members"; readonly update: MembersUpdate }
  | { readonly kind: "leave"; readonly code: string; readonly reason: string };

/** Keeps items in order. */
export class ReceivedItems {
  #items: ChannelItem[] = [];
  #size = 0;

  /** The size of all items in bytes. */
  get size(): number {
    return this.#size;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  /** The oldest item. */
  get first(): ChannelItem | undefined {
    return this.#items[0];
  }

  /** The end of the membership, if the server has sent it. */
  get leave(): ChannelItem & { kind: "leave" } | undefined {
    return this.#items.find((item) => item.kind === "leave");
  }

  add(item: ChannelItem): void {
    this.#items.push(item);
    this.#size += sizeOfItem(item);
  }

  /** Removes the oldest item. */
  shift(): void {
    const item = this.#items.shift();
    if (item) this.#size -= sizeOfItem(item);
  }

  clear(): void {
    this.#items = [];
    this.#size = 0;
  }
}

function sizeOfItem(item: ChannelItem): number {
  return MESSAGE_COST + (item.kind === "message" ? sizeOf(item.payload) : 0);
}
