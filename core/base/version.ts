/** Version of the product: all programs of one checkout have one. */

export const VERSION = '0.1.0-dev';
