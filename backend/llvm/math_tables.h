#pragma once
// Polynomial coefficients of backend/llvm/math*.cc, lowest degree first. Written by scripts/minimax.py, which
// states interval, weight and method; do not edit by hand. Lives apart from the formulas that use them.

namespace fcc::math_tables {

// (e^r - 1 - r) / r^2, |r| <= ln2/2: error 1.4e-08
inline constexpr double kExp32[] = {0x1.0000000000000p-1, 0x1.5554aa0000000p-3, 0x1.5554d40000000p-5,
    0x1.122cba0000000p-7, 0x1.6d676c0000000p-10};
// (log(1+f) - f + f^2/2) / f^3, |f| <= 1/3: error 5.0e-09
inline constexpr double kLog32[] = {0x1.55550c0000000p-2, -0x1.fffe5e0000000p-3, 0x1.99ce340000000p-3,
    -0x1.55b7ec0000000p-3, 0x1.1ef25e0000000p-3, -0x1.f03bb20000000p-4, 0x1.1df0000000000p-3, -0x1.0e2b900000000p-3};
// (sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4: error 1.6e-10
inline constexpr double kSin32[] = {-0x1.5555560000000p-3, 0x1.1111760000000p-7, -0x1.a05ba80000000p-13,
    0x1.7ccf140000000p-19};
// (cos(r) - 1 + r^2/2) / r^4 in r^2: error 1.1e-10
inline constexpr double kCos32[] = {0x1.55554a0000000p-5, -0x1.6c0c1a0000000p-10, 0x1.99e0e80000000p-16};
// erf(x)/x - 1 in x^2, |x| <= 0.92773: error 1.8e-08
inline constexpr double kErf32[] = {0x1.06eba60000000p-3, -0x1.8126e80000000p-2, 0x1.ce1aa40000000p-4,
    -0x1.b68ce40000000p-6, 0x1.473de00000000p-8, -0x1.3a092a0000000p-11};
// (log(erfc(t)) + t) / t, 0.92773 <= t <= 4: error 7.2e-10
inline constexpr double kErfc32[] = {-0x1.077b2c0000000p-3, -0x1.4530360000000p-1, -0x1.b3445c0000000p-4,
    0x1.85bb940000000p-6, -0x1.defd820000000p-9, 0x1.558e860000000p-12, -0x1.82a84e0000000p-17};
// (e^r - 1 - r) / r^2, |r| <= ln2/2: error 3.3e-19
inline constexpr double kExp64[] = {0x1.0000000000000p-1, 0x1.5555555555559p-3, 0x1.5555555555557p-5,
    0x1.111111110f5bap-7, 0x1.6c16c16c15311p-10, 0x1.a01a01b06fc40p-13, 0x1.a01a01ad6c2d7p-16, 0x1.71ddf69ea23d1p-19,
    0x1.27e4cad64c046p-22, 0x1.af623d0d23f7cp-26, 0x1.1f8f618d132d9p-29};
// (log((1+s)/(1-s))/s - 2) / s^2 in s^2, 1+f = (1+s)/(1-s) in [1/sqrt2, sqrt2]: error 3.3e-18
inline constexpr double kLog64[] = {0x1.5555555555593p-1, 0x1.999999997f8a1p-2, 0x1.249249423e70ap-2,
    0x1.c71c51c6704a7p-3, 0x1.74664d71ff1c2p-3, 0x1.39a02fa42786dp-3, 0x1.2f15b203f7729p-3};
// (log((1+s)/(1-s))/s - 2 - 2s^2/3) / s^4 in s^2: error 1.8e-22
inline constexpr double kPowLog64[] = {0x1.9999999999995p-2, 0x1.2492492493192p-2, 0x1.c71c71c55744bp-3,
    0x1.745d1845e3a71p-3, 0x1.3b135d899ec98p-3, 0x1.11217b0e81f86p-3, 0x1.de1466ab93490p-4, 0x1.ec113702b3e41p-4};
// (sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4: error 9.4e-20
inline constexpr double kSin64[] = {-0x1.5555555555555p-3, 0x1.1111111111067p-7, -0x1.a01a019ffdbd3p-13,
    0x1.71de3a32b56bep-19, -0x1.ae642af3641edp-26, 0x1.6108cfa2477fbp-33, -0x1.9f832e35ea035p-41};
// (cos(r) - 1 + r^2/2) / r^4 in r^2: error 4.9e-20
inline constexpr double kCos64[] = {0x1.555555555554cp-5, -0x1.6c16c16c15210p-10, 0x1.a01a019cbcd85p-16,
    -0x1.27e4f81044396p-22, 0x1.1ee9ef514f45bp-29, -0x1.8fb0009318106p-37};
// (asin(x)/x - 1) / x^2 in x^2, |x| <= 1/2: error 1.2e-18
inline constexpr double kAsin64[] = {0x1.5555555555578p-3, 0x1.333333332deeep-4, 0x1.6db6db722f9c2p-5,
    0x1.f1c71a88fadd9p-6, 0x1.6e8be05c286a7p-6, 0x1.1c49d1e8f6f30p-6, 0x1.ca22ce368d90fp-7, 0x1.7567769da7a6dp-7,
    0x1.61f8c1f70f3d2p-7, 0x1.d9b3e95c16b2fp-9, 0x1.67ae120e7d667p-6, -0x1.5e375d35027f7p-6, 0x1.0d5d430dc8c9fp-5};
// (atan(x)/x - 1) / x^2 in x^2, |x| <= sqrt2 - 1: error 7.1e-20
inline constexpr double kAtan64[] = {-0x1.5555555555554p-2, 0x1.9999999999583p-3, -0x1.249249246f497p-3,
    0x1.c71c71b44e293p-4, -0x1.745d144e6744dp-4, 0x1.3b1364be922cbp-4, -0x1.110be842a1d8dp-4, 0x1.e167774ea5e97p-5,
    -0x1.ab3a252634fa2p-5, 0x1.6fdd6264402ebp-5, -0x1.0fc3b83038cd2p-5, 0x1.e80705d7712a8p-7};
// erf(x)/x - 1 in x^2, |x| <= 1: error 1.3e-17
inline constexpr double kErf64[] = {0x1.06eba8214db69p-3, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b28p-4,
    -0x1.b82ce31284c61p-6, 0x1.565bcd0db7927p-8, -0x1.c02db3da4f625p-11, 0x1.f9a321ca2d27ap-14,
    -0x1.f4d1e2510cc17p-17, 0x1.b9df1917ef095p-20, -0x1.5f1e81e85ff13p-23, 0x1.f7b1c962e330ap-27,
    -0x1.38946c69966b3p-30, 0x1.05e83f68134acp-34};
// (log(erfc(t)) + t) / t, 1 <= t <= 6: error 7.9e-18
inline constexpr double kErfc64[] = {-0x1.06eba0af21b3bp-3, -0x1.45f316bed77dcp-1, -0x1.a4f30db91631ep-4,
    0x1.39583ce6f5a78p-6, 0x1.bc61e2640dc9fp-13, -0x1.bba8bbd414a2dp-10, 0x1.2d30d5eef2218p-11, 0x1.2bc41da4a55bfp-20,
    -0x1.90dc99ae5e61ep-14, 0x1.d66ed35a8d96dp-15, -0x1.55b3d9f6da3e7p-16, 0x1.69b5d44b1c64dp-18,
    -0x1.21b1fb00a3af1p-20, 0x1.5e7db9eaf50b1p-23, -0x1.37e3f657c88b2p-26, 0x1.8210879fb861ap-30,
    -0x1.2920f23c956b7p-34, 0x1.ac4d7b7bc5eafp-40};

}  // namespace fcc::math_tables
