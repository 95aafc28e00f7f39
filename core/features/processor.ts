/**
 * Provides the processor of requests and of messages with a schema, codec or hooks.
 *
 * @module
 */

import { MessageProcessor } from "../connection/message_processor.ts";
import { processorFeature } from "../connection/processor_feature.ts";

processorFeature.provide((host, dispatcher) =>
  new MessageProcessor(host, dispatcher)
);
