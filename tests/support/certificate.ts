/**
 * A certificate for `localhost` that only tests trust. It guards nothing.
 *
 *     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
 *       -nodes -days 36500 -subj /CN=localhost \
 *       -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
 *       -addext basicConstraints=critical,CA:FALSE
 */

export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmTCCAT6gAwIBAgIURBHr0u1AloPBdY44uFWlvbWx9z8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA1MTM1N1oYDzIxMjYxMDMw
MDUxMzU3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASoOIJbE5L5zcsZHJI1UFKEx88QTCHLT207RVqG4deXZChW9Lvd5VZs
ZbCrDfFwQH0NWLkMo51iqgePzwloS0tvo2wwajAdBgNVHQ4EFgQU77/Zxc042LTd
b5bElwrlRJJRZckwHwYDVR0jBBgwFoAU77/Zxc042LTdb5bElwrlRJJRZckwGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0E
AwIDSQAwRgIhAOWTVcZsmgVV5b4cTA9JEcyE7x1EK8F6tblmg7HsCUpBAiEAh1f6
OpFbJafe78+P3wS/CLlbe1sG1ok9aVJxVsw9Dko=
-----END CERTIFICATE-----
`;

export const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgd1CGe4YEdcuZuy2w
lU9x4g8DWQA5y53x7nY5ceO6c6yhRANCAASoOIJbE5L5zcsZHJI1UFKEx88QTCHL
T207RVqG4deXZChW9Lvd5VZsZbCrDfFwQH0NWLkMo51iqgePzwloS0tv
-----END PRIVATE KEY-----
`;
