/**
 * Provides the code for what is not a plain message.
 *
 * @module
 */

import { MessageProcessor } from "../connection/message_processor.ts";
import { processorFeature } from "../connection/processor_feature.ts";

processorFeature.provide((host, dispatcher) =>
  new MessageProcessor(host, dispatcher)
);
