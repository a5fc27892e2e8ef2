/** Who asks and does not read, or begins and does not end, costs the other end a bounded amount of memory. */
import { afterEach, expect, test } from '@jest/globals';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { codecs } from '../../proto/load.ts';
import { quietLog } from '../../test/fakes/quiet-log.ts';
import type { FrameChannel } from './channel.ts';
import { PIECE_BYTES, singleFrame } from './frames.ts';
import { answers, kind } from './link.ts';
import { Session } from './session.ts';

const MIB = 1024 * 1024;
const slow = kind('test.slow', z.object({ text: z.string() }), z.object({}));
const open: Session[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close('the test is over');
});

/** The stream to a peer that reads `room` bytes and nothing more. */
function heldUp(room: number) {
  const channel = {
    sent: [] as Uint8Array[],
    bytes: 0,
    closed: false,
    take: (_frame: Uint8Array): void => undefined,
  };
  const asChannel: FrameChannel = {
    address: 'test',
    send(frame) {
      channel.sent.push(frame);
      channel.bytes += frame.length;
      return channel.bytes <= room ? Promise.resolve() : new Promise(() => undefined);
    },
    onFrame(listener) {
      channel.take = listener ?? channel.take;
    },
    onClose: () => undefined,
    close: () => {
      channel.closed = true;
    },
  };
  const session = new Session({
    channel: asChannel,
    siteId: 'a',
    answers: [answers(slow, () => new Promise<Record<string, never>>(() => undefined))],
    clock: systemClock,
    log: quietLog(),
    heartbeatMs: 60_000,
  });
  open.push(session);
  return { channel, session };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('heartbeats that nobody reads the answers of are not answered without end, and echo nothing but a number', async () => {
  const { channel } = heldUp(0);
  const before = channel.bytes;
  for (let count = 0; count < 200; count += 1) channel.take(singleFrame({ kind: '.ping' }, { sent: 'x'.repeat(100_000) }));
  await turn();
  expect(channel.bytes - before).toBeLessThan(1_000);
});

test('requests that are refused while nobody reads the refusals end the link', async () => {
  const { channel, session } = heldUp(0);
  for (let id = 1; id <= 10_000 && session.isOpen; id += 1) channel.take(singleFrame({ id, kind: 'test.nobody' }, {}));
  await turn();
  expect([session.isOpen, channel.closed]).toEqual([false, true]);
});

test('requests that are begun and never ended share one limit', async () => {
  const { channel } = heldUp(1_000 * MIB);
  const body = Buffer.alloc(PIECE_BYTES, 0x20);
  let refused = 0;
  for (let chunk = 0; chunk < 30; chunk += 1)
    for (let id = 1; id <= 60; id += 1)
      channel.take(codecs.linkFrame.encode({ id, kind: chunk === 0 ? slow.name : '', chunk, end: false, body }));
  await turn();
  for (const frame of channel.sent) if (codecs.linkFrame.decode(frame).error) refused += 1;
  expect(refused).toBeGreaterThan(30);
});
