/** Enrolments that wait for an admin. */
import { z } from 'zod';
import { fleetQuery, idParams, pageOf, pageQuery, reasonText, route, time } from './route.ts';

export const pendingSchema = z.object({
  id: z.string(),
  hostname: z.string(),
  address: z.string(),
  fingerprint: z.string(),
  held_by_fingerprint: z.string().nullable(),
  reason: z.string(),
  requested_at: time,
});

export const listPending = route({
  name: 'enrollments.pending',
  summary: 'Lists enrolments that wait for approval',
  method: 'GET',
  path: '/enrollments/pending',
  permission: 'envoy.approve',
  query: z.strictObject({ ...pageQuery, ...fleetQuery }),
  reply: pageOf(pendingSchema),
});

export const approveEnrollment = route({
  name: 'enrollments.approve',
  summary: 'Approves a waiting enrolment; over a live envoy only with the fingerprint of the new key',
  method: 'POST',
  path: '/enrollments/{id}/approve',
  permission: 'envoy.approve',
  params: idParams,
  body: z.strictObject({ force_key_fingerprint: z.string().max(128).optional() }),
  reply: z.object({ id: z.string(), hostname: z.string(), status: z.literal('active'), replaced: z.string().nullable() }),
  codes: ['HOSTNAME_TAKEN'],
});

export const rejectEnrollment = route({
  name: 'enrollments.reject',
  summary: 'Rejects a waiting enrolment',
  method: 'POST',
  path: '/enrollments/{id}/reject',
  permission: 'envoy.approve',
  params: idParams,
  body: z.strictObject({ reason: reasonText.optional() }),
  reply: z.object({ id: z.string(), hostname: z.string(), status: z.literal('rejected') }),
});
