/** What every site answers to its hub, the hub's own site included. */
import type { RoleSite } from '../../role.ts';
import type { Answer, LinkSession } from '../link.ts';
import { answerEnrollCreate } from './enroll.ts';

export interface SiteContext {
  readonly site: RoleSite;
  /** the open link to the hub; undefined while there is none */
  hub(): LinkSession | undefined;
}

export function siteAnswers({ site }: SiteContext): readonly Answer[] {
  return [answerEnrollCreate(site.parts)];
}
